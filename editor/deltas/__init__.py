"""What an edit adds to the weights: the delta, its folding into a checkpoint, and its form as a LoRA adapter.

Everything here works on files and tensors of weights. Nothing here runs a model, except the reload
in a fresh process that proves a written checkpoint.
"""
