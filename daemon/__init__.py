"""The daemon and the command line drive the store and the editor. They import no torch directly."""
