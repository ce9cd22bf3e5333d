"""The style sheet of report.html: two greys, one accent, light and dark, wide and narrow."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fcfcfa; --ink: #20211f; --soft: #6a6c68; --line: #e2e2dc;
  --accent: #17707d; --quiet: #b9bcb6; --wash: #f2f2ee;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17191a; --ink: #e4e5e1; --soft: #9b9e9a; --line: #313436;
    --accent: #58b4bf; --quiet: #585d5f; --wash: #1f2223;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 3rem 1.25rem 5rem; max-width: 62rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
h1, h2 {
  font-family: "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, "Noto Serif", serif;
  font-weight: 500; line-height: 1.2; text-wrap: balance;
}
h1 { font-size: clamp(1.8rem, 5vw, 2.6rem); margin: 0 0 .75rem; letter-spacing: -.01em; }
h2 { font-size: 1.5rem; margin: 4rem 0 .4rem; padding-top: 1.2rem;
     border-top: 1px solid var(--line); }
h3 { font-size: .95rem; font-weight: 600; margin: 0 0 .5rem; }
p { max-width: 42rem; margin: 0 0 1rem; }
.lead, figcaption, .note, footer { color: var(--soft); }
.lead { font-size: 1.1rem; }
figcaption, .note, footer { font-size: .875rem; line-height: 1.5; }
.summary { color: var(--ink); }
.headline { display: grid; gap: 1.5rem 2rem; margin: 2.5rem 0 0;
            grid-template-columns: repeat(6, auto); }
.headline div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.headline dt { color: var(--soft); font-size: .875rem; line-height: 1.4; }
.headline dd { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em;
               white-space: nowrap; }
.headline div:first-child dd { color: var(--accent); }
.charts { display: grid; gap: 2.5rem 3rem; margin: 1.75rem 0 0;
          grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; min-width: 0; }
svg { display: block; width: 100%; height: auto; overflow: visible; margin-bottom: .35rem; }
svg text { font-size: 11.5px; fill: var(--soft); }
svg text.median { fill: var(--ink); }
.column { fill: var(--accent); }
.column.quiet, .column.outside { fill: var(--quiet); }
.column:hover { opacity: .65; }
line.axis { stroke: var(--quiet); stroke-width: 1; }
line.median { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 2 2; }
.none { color: var(--soft); font-style: italic; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: left; font-weight: 400; }
.bars { margin: 1rem 0; }
.bars th { width: 15rem; padding: .16rem .75rem .16rem 0; line-height: 1.35; }
.bars.wide th { width: 26rem; }
.charts + h3 { margin-top: 2.5rem; }
.bars .n, .bars .p { width: 1%; white-space: nowrap; text-align: right; padding-left: .9rem; }
.bars .p { color: var(--soft); min-width: 4.4rem; }
.bars i { display: block; height: .8rem; min-width: 1px; background: var(--accent);
          border-radius: 1px; }
.bars .lost i, .bars .copy i { background: var(--quiet); }
.bars .lost th, .bars .copy th { padding-left: 1.25rem; color: var(--soft); }
.bars .main th { font-weight: 600; }
.bars .part th { padding-left: 1.25rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
.plain th, .plain td { padding: .4rem 1.1rem .4rem 0; vertical-align: top;
                       border-bottom: 1px solid var(--line); }
.plain thead th { color: var(--soft); font-size: .8rem; white-space: nowrap; }
.plain .n { text-align: right; white-space: nowrap; }
.plain tr > :last-child { padding-right: 0; }
.name { overflow-wrap: anywhere; }
.plain td.file { min-width: 11rem; }
.plain td.what { min-width: 13rem; }
details .scroll { margin: .25rem 0 1.25rem; }
details { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .5rem 0; }
summary b { font-weight: 600; }
summary .note { margin-left: .5rem; }
details[open] > summary { color: var(--accent); }
details .plain tr:last-child td { border-bottom: 0; }
.families { display: grid; gap: 1.75rem 3rem; margin: 1.25rem 0 2rem;
            grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.families .bars { margin: 0; }
.families .bars th { width: 12.5rem; }
.families .drums { grid-column: 1 / -1; }
.families .drums .bars tbody { display: grid; gap: 0 3rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.families .drums .bars tr { display: grid; grid-template-columns: 12.5rem 1fr auto 4.6rem;
  align-items: center; }
.families .drums .bars .n, .families .drums .bars .p { width: auto; }
.panorama { min-width: 46rem; }
.keys th { width: 4rem !important; }
.pairs { grid-template-columns: repeat(2, minmax(0, 1fr)); }
section > figure { margin: 2.5rem 0; }
line.octave { stroke: var(--line); stroke-width: 1; }
svg text.ink { fill: var(--ink); }
.bars thead th { color: var(--soft); font-size: .8rem; }
.bars thead th, .bars.grids th, .bars.vocabulary th { width: 1%; white-space: nowrap;
  padding-right: 2rem; }
.grids .main th, .grids .main td { font-weight: 600; }
.grids .n { padding-left: 1.2rem; }
.stack { display: flex; height: .95rem; gap: 1px; }
.bars .stack i { height: 100%; min-width: 0; }
.bars .e0, .legend .e0 { background: var(--accent); }
.bars .e1, .legend .e1 { background: color-mix(in oklab, var(--accent) 72%, var(--paper)); }
.bars .e2, .legend .e2 { background: color-mix(in oklab, var(--accent) 48%, var(--paper)); }
.bars .e3, .legend .e3 { background: color-mix(in oklab, var(--accent) 26%, var(--paper)); }
.bars .e4, .legend .e4 { background: var(--quiet); }
.bars .e5, .legend .e5 { background: #b5532d; }
.legend { font-size: .8rem; color: var(--soft); display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem;
            vertical-align: -.1rem; }
.bars.blocks th { width: 5rem; } .blocks .mode { width: 4rem; color: var(--soft); }
.blocks .first th, .blocks .first td { padding-top: .7rem; }
.blocks .what { width: 22rem; padding-left: 1.2rem; color: var(--soft); font-size: .85rem; }
.bars i.crop, .bars i.pad { background: var(--quiet); }
.vocabulary .n { padding-left: 1.2rem; }
.tokens { display: flex; flex-wrap: wrap; gap: .35rem 1.2rem; max-width: none; font-size: .875rem;
          color: var(--soft); }
.tokens code { color: var(--ink); }
.verdict { padding: .8rem 1rem; background: var(--wash); border-left: 3px solid var(--accent);
           max-width: 42rem; }
footer { margin-top: 4rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
code { font-size: .92em; }
@media (max-width: 58rem) { .headline { grid-template-columns: repeat(3, 1fr); } }
@media (max-width: 34rem) {
  .keys th { width: 4rem !important; }
.pairs { grid-template-columns: minmax(0, 1fr); }
  .headline { grid-template-columns: repeat(2, 1fr); }
  body { padding-top: 1.75rem; }
  .bars tr { display: grid; grid-template-columns: 1fr auto 4.6rem; align-items: baseline;
             padding: .2rem 0; }
  .bars th, .bars.wide th, .families .bars th, .bars .n, .bars .p { width: auto; }
  .bars .bar { grid-row: 2; grid-column: 1 / -1; padding-top: .1rem; }
  .bars .bar i { height: .5rem; }
  .stack, .bars .stack i { height: .8rem; }
  .bars thead tr, .bars.blocks th { display: none; }
  .bars.blocks .first th { display: block; grid-column: 1 / -1; }
  .bars.blocks .bar { grid-row: auto; grid-column: 1 / -1; order: 1; }
  .bars.blocks tr { grid-template-columns: 1fr auto; }
  .bars.blocks .what { display: none; }
  .bars.grids tr, .bars.vocabulary tr { grid-template-columns: 1fr auto auto; }
  .families .drums .bars tr { grid-template-columns: 1fr auto 4.6rem; }
  h2 { margin-top: 3rem; }
}
@media print { details:not([open]) { display: none; } figure { break-inside: avoid; } }
"""
