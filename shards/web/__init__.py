"""What the pages of both programs share: a web server for one person on this machine.

server.py    the address, the requests that are refused, and how an answer is sent
base.css     colours, light and dark, and letters
vendor/      the oscillator synthesizer that both pages play with
"""
