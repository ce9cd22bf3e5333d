"""A dataset as a web page on this machine: search, filter, look at piano rolls, listen.

server.py       a loopback-only web server and what it answers
songs.py        the index as a table to filter, sort and page
song_facts.py   find one song or file, and all that is known of it; `pipeline show` prints it too
static/         the page, its script and style, and the libraries it needs
"""
