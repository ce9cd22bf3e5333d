"""Write songs with a trained model, token by token.

How one token is generated:
    1. `IncrementalModel` feeds the previous token to the model and returns logits.
    2. `Writer` says which tokens and instruments may come next.
    3. `logits` turns the logits of the allowed ones into probabilities (temperature, top-k, top-p,
       min-p) and samples from them.
    4. `Writer` appends the token, its instrument and its velocity to the song.

Files:
    settings.py          sampling settings
    task.py              what is asked: a song, its continuation, bars or parts of it anew
    asked.py             tempo, meter, key, band and length -> conditions of the model
    generate.py          the loop that writes several songs at once
    sample_step.py       one token for each of several songs
    token_sampler.py     one song that is being sampled: what is fed, what may come, what has come
    song_sampler.py      samples a whole song, or what follows a prompt
    rewrite.py           infilling and accompaniment: feeds what is given, samples the rest
    fast_weights.py      a model whose matrices have eight bits on a CPU, bf16 on a GPU
    guided.py            a model that is fed twice, with what is asked and without
    incremental.py       runs the model a few tokens at a time, keeping keys and values
    one_token.py         one token of every song through the model, in few operations
    token_graph.py       the same as CUDA graphs
    logits.py            logits -> probabilities -> one class
    writer.py            the arrays of one unfinished song, and what may come next
    repetition_guard.py  finds tokens that would continue an exact repetition
    instruments.py       instrument names typed by the user -> instrument classes
    prompt.py            the beginning of a song or of a MIDI file, to be continued
"""
