(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 600px)");

  const coloured = (value, style) => {
    if (typeof value === "string" && value.startsWith("var(")) {
      return style.getPropertyValue(value.slice(4, -1)).trim();
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, coloured(item, style)]),
      );
    }
    return value;
  };

  const axis = (spec) => ({
    gridcolor: "var(--grid)", linecolor: "var(--line)", zeroline: false, fixedrange: narrow.matches,
    ...spec, title: { ...spec.title, font: { size: 12, color: "var(--muted)" } },
  });

  const layout = (figure) => {
    const spec = narrow.matches ? figure.narrow : figure.wide;
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      hovermode: "closest", dragmode: narrow.matches ? false : "zoom",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "var(--text)" },
      hoverlabel: {
        bgcolor: "var(--surface)", bordercolor: "var(--line)", align: "left",
        font: { color: "var(--text)", size: 13 },
      },
      ...spec, xaxis: axis(spec.xaxis), yaxis: axis(spec.yaxis),
    };
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const [id, figure] of Object.entries(figures)) {
      Plotly.react(
        id, coloured(figure.data, style), coloured(layout(figure), style),
        { responsive: true, displayModeBar: false, scrollZoom: false },
      );
    }
  };

  draw();
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
})();
