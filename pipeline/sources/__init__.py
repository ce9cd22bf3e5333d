"""Find and read input files: folders and archives to one list, cut into slices.

listing.py        list every input file of a run, and read one
folders.py        search a folder, follow links
members.py        what a listing stores per file, and why a file may be refused
plain_file.py     open and read a file that may have changed since it was listed
archives.py       list and read archives without unpacking them to disk
tars.py           stream through .tar, plain or compressed
zips.py           read the directory and the members of a .zip
fetch.py          download the Lakh MIDI Dataset, resumable
bounded_http.py   one HTTP GET in which every wait and length is bounded
"""
