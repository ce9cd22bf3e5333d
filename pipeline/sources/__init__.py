"""Folders and archives -> one list of files, cut into slices, and their bytes.

listing.py     what there is to read
archives.py tars.py zips.py members.py   archives read without unpacking them
fetch.py       download Lakh
"""
