"use strict";
// Draws the figures of the page from the data inside it. Without scripts the static pictures stay.
(() => {
  const { configs, tables, specs } = JSON.parse(document.getElementById("data").textContent);
  const rows = {};
  for (const [name, table] of Object.entries(tables)) {
    rows[name] = table.rows.map((row) => Object.fromEntries(table.columns.map((key, i) => [key, key in table.words ? table.words[key][row[i]] : row[i]])));
  }
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  let focus = "";

  async function draw(figure) {
    const key = figure.dataset.figure;
    const place = figure.querySelector(".live");
    const packed = specs[key];
    const datasets = {};
    // Vega writes its own marks into the rows: every figure gets a copy.
    for (const [name, table] of Object.entries(packed.datasets)) datasets[name] = rows[table].map((row) => ({ ...row }));
    const scheme = dark.matches ? "dark" : "light";
    if (views.has(key)) views.get(key).finalize();
    const drawn = await vegaEmbed(place, { ...packed, datasets }, {
      mode: "vega-lite",
      renderer: "svg",
      actions: false,
      config: configs[scheme],
      tooltip: { theme: scheme },
    });
    views.set(key, drawn);
    drawn.view.signal("focus", focus).run();
    figure.classList.add("drawn");
    figure.querySelector(".save").hidden = false;
  }

  async function drawAll() {
    for (const figure of document.querySelectorAll("[data-figure]")) {
      try {
        await draw(figure);
      } catch (error) {
        figure.classList.remove("drawn");
        console.error(figure.dataset.figure, error);
      }
    }
    document.documentElement.dataset.drawn = "yes";
  }

  async function save(figure) {
    const picture = await views.get(figure.dataset.figure).view.toSVG();
    const link = document.createElement("a");
    link.href = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(picture);
    link.download = `algobias-${figure.dataset.figure}.svg`;
    link.click();
  }

  document.addEventListener("click", (event) => {
    const arm = event.target.closest("[data-arm]");
    if (arm) {
      focus = focus === arm.dataset.arm ? "" : arm.dataset.arm;
      for (const button of document.querySelectorAll("[data-arm]")) {
        button.setAttribute("aria-pressed", String(button.dataset.arm === focus));
      }
      for (const drawn of views.values()) drawn.view.signal("focus", focus).runAsync();
    }
    const button = event.target.closest(".save");
    if (button) save(button.closest("figure"));
  });
  dark.addEventListener("change", drawAll);
  drawAll();
})();
