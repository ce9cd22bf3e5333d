"""A dataset as a web page on this machine: search, filter, look at piano rolls, listen.

server.py       a loopback-only web server and what it answers
tables.py       the songs, or the files that were not kept, to filter, sort, page and count
boxes.py        what is typed above a column, as a condition of `--where`
song_facts.py   find one song or file, and all that is known of it; `pipeline show` prints it too
originals.py    the notes of files that were not kept, from the sources
music.py        a song as the page draws it
static/         the page, its script and style, and the libraries it needs
"""
