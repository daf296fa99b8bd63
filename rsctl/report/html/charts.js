// Values of the lines under the pointer, or by the arrow keys; lines are hidden by the buttons of the legend.
(() => {
  "use strict";
  const values = JSON.parse(document.getElementById("report-data").textContent);

  function nearest(xs, x) {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle; else high = middle;
    }
    return x - xs[low] <= xs[high] - x ? low : high;
  }

  function set(chart) {
    const figure = document.getElementById(chart.id);
    const plot = figure.querySelector(".plot"), cursor = plot.querySelector(".cursor"), readout = figure.querySelector(".readout");
    const buttons = [...figure.querySelectorAll(".legend button")];
    const hint = readout.textContent;
    const grid = [...new Set(chart.lines.flatMap((line) => line.x))].sort((a, b) => a - b);
    let here = -1;

    const hide = () => {
      here = -1;
      cursor.setAttribute("visibility", "hidden");
      readout.textContent = hint;
      buttons.forEach((button) => { button.querySelector(".value").textContent = ""; });
    };

    const show = (place) => {
      if (!grid.length) return;
      here = Math.max(0, Math.min(grid.length - 1, place));
      const x = grid[here], at = chart.left + (x / chart.most) * chart.width;
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
      cursor.setAttribute("visibility", "visible");
      readout.textContent = `${chart.name} ${x}`;
      const told = [];
      chart.lines.forEach((line, number) => {
        const last = line.x[line.x.length - 1];
        const text = line.x.length && x <= last + 1e-9 ? line.shown[nearest(line.x, x)] : line.after;
        buttons[number].querySelector(".value").textContent = text;
        if (buttons[number].getAttribute("aria-pressed") === "true") told.push(`${buttons[number].querySelector(".name").textContent}: ${text}`);
      });
      plot.setAttribute("aria-description", `${chart.name} ${x}. ${told.join("; ")}`);
    };

    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const scale = plot.viewBox.baseVal.width / box.width;
      show(nearest(grid, (((event.clientX - box.left) * scale - chart.left) / chart.width) * chart.most));
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 };
      if (event.key in steps) show(here + steps[event.key]);
      else if (event.key === "Home") show(0);
      else if (event.key === "End") show(grid.length - 1);
      else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    });
    buttons.forEach((button, number) => {
      button.title = "Hide or show this line; double click: this line alone";
      const apply = (one, on) => {
        one.setAttribute("aria-pressed", String(on));
        plot.querySelector(`[data-line="${one.dataset.line}"]`).classList.toggle("off", !on);
      };
      button.addEventListener("click", () => apply(button, button.getAttribute("aria-pressed") !== "true"));
      button.addEventListener("dblclick", () => {
        const alone = buttons.every((other) => (other === button) === (other.getAttribute("aria-pressed") === "true"));
        buttons.forEach((other) => apply(other, alone || other === button));
      });
    });
  }

  values.charts.forEach(set);
})();
