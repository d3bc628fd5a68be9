"""How the page looks, in light and in dark."""

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de; --panel: #f6f8fa;
  --good: #1a7f37; --bad: #c4232c; --doubt: #8a5a00; --wait: #bf8700; --link: #0a58b5;
  --c0: #0b62b8; --c1: #a64b00; --c2: #1a7a3c; --c3: #7a3db8; --c4: #00707a; --c5: #b02a6b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e6e9ed; --quiet: #9aa5b1; --line: #3a434d; --panel: #1d2228;
    --good: #57c77a; --bad: #ff7b72; --doubt: #e3b341; --wait: #d9a520; --link: #79b8ff;
    --c0: #6db3ff; --c1: #ffab66; --c2: #6cd391; --c3: #c79bff; --c4: #5fd0d8; --c5: #ff8fc4;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 20px 24px 48px; max-width: 1248px;
  font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
}
h1 { font-size: 24px; line-height: 1.3; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 32px 0 8px; }
a { color: var(--link); }
code, pre, td, .mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px; }
.title { color: var(--quiet); margin: 0 0 12px; overflow-wrap: anywhere; }
.verdict { border-left: 5px solid var(--doubt); padding: 2px 0 2px 14px; margin: 0 0 20px; }
.verdict.legal { border-color: var(--good); }
.verdict.illegal { border-color: var(--bad); }
.verdict.legal b { color: var(--good); }
.verdict.illegal b { color: var(--bad); }
.verdict.unknown b { color: var(--doubt); }
.reason { white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0 0; font-size: 16px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
pre {
  background: var(--panel); border: 1px solid var(--line); border-radius: 6px; margin: 6px 0;
  padding: 8px 12px; white-space: pre-wrap; overflow-wrap: anywhere;
}
.legend { display: flex; flex-wrap: wrap; gap: 4px 22px; list-style: none; margin: 0 0 8px;
  padding: 0; color: var(--quiet); font-size: 13px; }
.legend svg { vertical-align: -5px; margin-right: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: 6px 10px; overflow-wrap: anywhere; }
thead th { color: var(--quiet); font-weight: 600; font-size: 13px; }
tbody tr { border-top: 1px solid var(--line); }
tbody tr:target, .row-target { background: var(--panel); outline: 2px solid var(--link); }
td { white-space: pre-wrap; }
tbody th { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; }
summary { cursor: pointer; }
td.blocked { color: var(--doubt); }
td.failed { color: var(--bad); }
.narrow { width: 64px; } .actor { width: 84px; } .touches { width: 170px; }
.source { width: 210px; }
.skip { position: absolute; left: -9999px; }
.skip:focus { left: 24px; background: var(--paper); padding: 4px 8px; z-index: 1; }

svg text { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; fill: var(--ink); }
svg a { text-decoration: none; outline: none; }
svg .row { fill: transparent; }
svg a:hover .row { fill: var(--ink); fill-opacity: .06; }
svg a:focus-visible .row, svg a:target .row { stroke: var(--link); stroke-width: 2; }
.c0 { --own: var(--c0); } .c1 { --own: var(--c1); } .c2 { --own: var(--c2); }
.c3 { --own: var(--c3); } .c4 { --own: var(--c4); } .c5 { --own: var(--c5); }
.lane { stroke: var(--line); stroke-width: 1.5; }
.lane.c0, .lane.c1, .lane.c2, .lane.c3, .lane.c4, .lane.c5 {
  stroke: var(--own); stroke-opacity: .55; stroke-width: 2;
}
.heads text { text-anchor: middle; font-weight: 600; }
.heads text.below { font-weight: 400; fill: var(--quiet); }
.heads.worker text.head { fill: var(--own); }
svg text.number { text-anchor: end; fill: var(--quiet); }
svg text.name { font-weight: 700; fill: var(--own, var(--ink)); }
svg text.result { fill: var(--quiet); }
svg text.result.blocked { fill: var(--doubt); }
svg text.result.error { fill: var(--bad); }
svg text.source { fill: var(--quiet); text-anchor: end; }
.touch { stroke: var(--own); stroke-width: 1.5; fill: none; }
.touch.pending { stroke-dasharray: 3 4; }
.tip { fill: var(--own); }
.mark { fill: var(--own); stroke: var(--paper); stroke-width: 1.5; }
.mark.blocked { fill: var(--paper); stroke: var(--wait); stroke-width: 3; }
.mark.failed { stroke: var(--bad); stroke-width: 3; }
.wait { fill: var(--wait); fill-opacity: .35; stroke: var(--wait); }
.wait.open { stroke-dasharray: 3 3; }
.waits-for path { stroke: var(--wait); stroke-width: 1.5; stroke-dasharray: 5 3; fill: none; }
.waits-for .tip { fill: var(--wait); stroke: none; }
.circle rect { fill: var(--bad); fill-opacity: .1; stroke: var(--bad); }
svg .circle text { fill: var(--bad); font-weight: 700; }
.circle-line path { stroke: var(--bad); stroke-width: 2; fill: none; }
.circle-line .tip { fill: var(--bad); stroke: none; }
.passing { stroke: var(--quiet); stroke-width: 2; stroke-dasharray: 1 5; stroke-linecap: round; }
.ran-out { fill: var(--paper); stroke: var(--bad); stroke-width: 2; }
.hand { fill: none; stroke: var(--bad); stroke-width: 1.5; }
@media print { .legend, .skip { display: none; } }
"""
