"""The daemon and the command line: they drive the store and the editor, and import no torch directly."""
