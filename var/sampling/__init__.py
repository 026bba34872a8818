"""Many seeds drawn into files: work lists, what each file records of its making, and drawing that can be resumed.

Nothing here knows a model: a pipeline is a callable from labels and seeds to pictures.
"""
