"""`trainer evaluate`: the loss of trained runs on held-out songs.

Files:
    held_out.py    choose the runs to compare and the held-out songs
    token_loss.py  the loss of every single target
    breakdown.py   mean losses by kind of target
    interval.py    the confidence interval of a mean loss
    evaluate.py    evaluate one run; the table of several
    plot.py        the same as a picture
"""
