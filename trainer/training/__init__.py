"""Train a model: one step, the loop around it, and what it logs.

One training step (`Trainer.train_step`):
    1. `trainer.data.prefetch.Loader` delivers the next batch: B lanes of T tokens.
    2. `reverse_teacher_forcing` masks part of the context, if a mode is set.
    3. For each group of lanes (`accumulate` groups): the model reads the block and its memory of
       the blocks before, the loss is computed, and its gradient is added up.
    4. `distributed` sums the gradients of all processes.
    5. `optimizers` clips the gradient and updates the weights at the scheduled learning rate.

Files:
    trainer.py                  the step, validation, and what a checkpoint holds
    loop.py                     steps until the end: log, validate, save, stop on Ctrl-C
    stop_request.py             a signal that ends it after the step
    compiled.py                 when torch.compile is used, its cache, and what if it fails
    step_graph.py               the step as one CUDA graph
    optimizers.py               AdamW, Muon, weight decay, learning rate schedule
    reverse_teacher_forcing.py  masks of the recent context
    distributed.py              several processes that share the lanes
    metrics_log.py              metrics.jsonl and TensorBoard
    unigram_baseline.py         the loss of predicting by frequency alone
    compare.py                  several runs: settings that differ, loss, tokens, time
    plot.py                     learning curves as a picture
"""
