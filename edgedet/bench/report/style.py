"""How the report looks: one palette for light surroundings, one for dark ones."""

from __future__ import annotations

LIGHT = {"paper": "#ffffff", "card": "#f7f8fa", "ink": "#16191d", "dim": "#59616b", "line": "#d5d9df"}
DARK = {"paper": "#14171b", "card": "#1c2026", "ink": "#e8eaed", "dim": "#a0a8b3", "line": "#3a414b"}

LIGHT_SERIES = ("#0072b2", "#c24f00", "#00805c", "#b0518d", "#a87400", "#2f8fc4")
DARK_SERIES = ("#4ba8e0", "#f58a45", "#2cc79a", "#e39cc6", "#f0b43c", "#8fd0f5")
"""The hues of `edgedet.bench.layers.plot.COLOURS`, as dark or as light as lines on that paper have to be: a contrast
of 3 to 1 at least (WCAG 2.2, 1.4.11)."""

RULES = """
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 78rem;
  background: var(--paper); color: var(--ink); overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 2.75rem 0 .5rem; font-size: 1.25rem; }
h3 { margin: 0; font-size: 1rem; } p { margin: .25rem 0 .75rem; } ul { margin: .25rem 0; padding-left: 1.25rem; }
.dim, .how { color: var(--dim); } .how { font-size: .875rem; } .name { margin: 1.25rem 0 .25rem; font-weight: 600; }
small { color: var(--dim); font-weight: 400; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--dim); font-weight: 500; vertical-align: bottom; overflow-wrap: normal; }
tbody th { font-weight: 600; min-width: 16rem; } td { min-width: 7rem; }
td.number { min-width: 4rem; white-space: nowrap; } .number { text-align: right; font-variant-numeric: tabular-nums; }
td ul { margin: 0; padding: 0; list-style: none; min-width: 14rem; } .card ul { font-size: .875rem; }
tr.differs { background: var(--card); } tr.differs th::before { content: "\\2260\\00a0"; }
.swatch { display: inline-block; width: .75em; height: .75em; border-radius: 2px; margin-right: .4em; }
.grid { display: grid; gap: 1rem; margin-top: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); }
.card { margin: 0; padding: 1rem; border-radius: 8px; background: var(--card); min-width: 0; }
.chart { display: block; width: 100%; max-width: 36rem; height: auto; fill: var(--ink);
  stroke-linejoin: round; stroke-linecap: butt; }
.verdict { border-left: 4px solid var(--dim); padding: .5rem 1rem; margin: .75rem 0; background: var(--card); }
.pass { border-color: var(--series-2); } .fail { border-color: var(--series-1); }
@media (max-width: 40rem) { body { padding: 1rem .5rem 3rem; } .card { padding: .5rem; } }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); }
.picture { margin: 0; min-width: 0; max-width: 37rem; }
.picture svg { display: block; width: 100%; height: auto; border-radius: 6px; }
.picture ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; }
.picture figcaption { font-size: .875rem; padding-top: .25rem; } .canvas { fill: var(--line); }
"""


def style() -> str:
    """The page's style sheet."""
    light, dark = (
        {f"series-{place}": colour for place, colour in enumerate(series)} for series in (LIGHT_SERIES, DARK_SERIES)
    )
    # Photographs are as bright in the dark: boxes on them keep their colours.
    return (
        f":root {{ color-scheme: light dark; {_variables({**LIGHT, **light})} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables({**DARK, **dark})} }} }}{RULES}"
        f".pictures {{ {_variables(light)} }}\n"
    )


def _variables(values: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in values.items())
