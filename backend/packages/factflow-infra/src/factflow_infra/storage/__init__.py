"""Object stores: `factory` picks one by its URI, `data_lock` guards a folder.

Nothing is imported here: the writer process, started with each store, needs few of these modules.
"""
