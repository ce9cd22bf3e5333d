"""A page on this machine to write music with a trained model, and to hear it while it is written.

order.py        what a page asks for, with its bounds
takes.py        the songs written so far, in memory
writing.py      writes what an order asks for, bar by bar
server.py       the addresses, and what is at each
static/         the page, its scripts and style, and the synthesizer it plays with
"""
