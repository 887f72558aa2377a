"""What an edit adds to the weights: the delta, and its forms as a checkpoint and as a LoRA adapter.

Everything here works on files and tensors of weights. Nothing here runs a model, with one
exception: `reload` loads a written checkpoint in a fresh process to prove it.
"""
