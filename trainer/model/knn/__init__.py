"""The kNN memory: keys and values that left the Transformer-XL's memory, for one layer to retrieve.

store.py    the stored keys and values; the layer that retrieves them and mixes them in
search.py   exact nearest neighbours, by torch and numpy or by faiss
file.py     the store on disk, one file per checkpoint
"""
