/* Draws the charts of the report from the numbers in #payload. No request, no dependency but uPlot. */
(function () {
  "use strict";
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const charts = payload.charts;
  const isDate = payload.time.kind === "date";
  const time = decode(payload.time);
  const root = document.documentElement;
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const scaleOf = { 1: ["calm"], 2: ["calm", "wild"], 3: ["calm", "mild", "wild"] };
  const order = ["calm", "mild", "rough", "wild"];
  const nav = document.querySelector(".zoom");
  let plots = [];
  let range = null;

  function decode(column) {
    let sum = 0;
    return column.v.map(function (v) {
      if (v === null) return null;
      sum = column.d ? sum + v : v;
      // Steps are powers of ten: dividing by a whole number keeps 0.3 from becoming 0.30000000000000004.
      return column.s < 1 ? sum / Math.round(1 / column.s) : sum * column.s;
    });
  }
  function colour(name) {
    return getComputedStyle(root).getPropertyValue("--" + name).trim();
  }
  function regimeClass(k, n) {
    return (scaleOf[n] || order)[scaleOf[n] ? k : Math.round((3 * k) / (n - 1))];
  }
  function day(seconds) {
    if (!isDate) return "row " + seconds;
    const d = new Date(seconds * 1000);
    const clock = payload.time.s < 86400 ? " " + d.toISOString().slice(11, 16) : "";
    return d.getUTCDate() + " " + months[d.getUTCMonth()] + " " + d.getUTCFullYear() + clock;
  }
  function timeLabels(u, splits, axis, space, step) {
    let before = null;
    return splits.map(function (s) {
      if (!isDate) return String(s);
      const d = new Date(s * 1000);
      const year = d.getUTCFullYear();
      if (step >= 86400 * 360) return String(year);
      const month = months[d.getUTCMonth()];
      const label = step >= 86400 * 27 ? month : d.getUTCDate() + " " + month;
      const fresh = year !== before;
      before = year;
      return fresh ? label + "\n" + year : label;
    });
  }
  function shown(value) {
    if (value == null) return "";
    const size = Math.abs(value);
    const digits = size >= 1000 ? 0 : size >= 100 ? 1 : 2;
    return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })
      .replace("-", "\u2212");
  }
  function roundPrices(u, index, low, high) {
    let best = [];
    for (const steps of [[1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]]) {
      best = [];
      for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
        for (const m of steps) {
          const v = m * Math.pow(10, e);
          if (v >= low && v <= high) best.push(v);
        }
      if (best.length >= 4) return best;
    }
    if (best.length >= 3) return best;
    const step = Math.pow(10, Math.floor(Math.log10((high - low) / 3)));
    best = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) best.push(v);
    return best.filter(function (v, i) { return i % Math.ceil(best.length / 6) === 0; });
  }

  function base(height, yLabel, series, extra) {
    const narrow = window.innerWidth < 600;
    const axis = {
      stroke: colour("soft"),
      font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif",
      grid: { stroke: colour("line"), width: 1 },
      ticks: { stroke: colour("line"), width: 1, size: 4 },
    };
    const options = {
      width: 600,
      height: height,
      tzDate: function (s) { return uPlot.tzDate(new Date(s * 1000), "Etc/UTC"); },
      cursor: {
        sync: { key: "regimeslot", scales: ["x", null] },
        drag: { x: true, y: false, setScale: true },
        points: { size: 6 },
      },
      legend: { live: true },
      scales: { x: { time: isDate }, y: {} },
      axes: [
        Object.assign({}, axis, { values: timeLabels, space: narrow ? 45 : 60, size: 40 }),
        Object.assign({}, axis, {
          label: yLabel, labelSize: 18, size: narrow ? 46 : 52, space: 26,
          values: function (u, splits) {
            return splits.map(function (v) { return v == null ? "" : plain(v); });
          },
        }),
      ],
      series: [{ label: isDate ? "Date" : "Row", value: function (u, v) { return v == null ? "" : day(v); } }]
        .concat(series),
      hooks: { setScale: [follow] },
    };
    return Object.assign(options, extra);
  }
  function plain(v) {
    return v.toLocaleString("en", { maximumSignificantDigits: 6 }).replace("-", "\u2212");
  }
  function follow(u, key) {
    const x = u.scales.x;
    if (key !== "x" || x.min == null) return;
    u.root.dataset.range = day(Math.round(x.min)) + " to " + day(Math.round(x.max));
    range = x.min <= time[0] && x.max >= time[time.length - 1] ? null : [x.min, x.max];
    /* uPlot calls this hook after the fact: only charts that differ are moved, so it comes to rest. */
    for (const p of plots) {
      const other = p.scales.x;
      if (p !== u && (other.min !== x.min || other.max !== x.max))
        p.setScale("x", { min: x.min, max: x.max });
    }
    nav.querySelectorAll("button").forEach(function (b) {
      const pressed = Math.abs(x.min - begin(b)) < 1 && x.max >= time[time.length - 1];
      b.setAttribute("aria-pressed", String(pressed));
    });
  }
  function begin(button) {
    const years = Number(button.dataset.span);
    return years ? Math.max(time[0], time[time.length - 1] - years * 365.25 * 86400) : time[0];
  }

  function wash(u, name) {
    /* Light colour with a hatch in the same colour: regimes differ in pattern, not in hue alone. */
    const tile = document.createElement("canvas");
    const size = name === "wild" ? 6 : 10;
    tile.width = tile.height = size * devicePixelRatio;
    const c = tile.getContext("2d");
    c.scale(devicePixelRatio, devicePixelRatio);
    const alpha = parseFloat(colour("wash"));
    c.globalAlpha = alpha;
    c.fillStyle = colour(name);
    c.fillRect(0, 0, size, size);
    if (name !== "calm") {
      c.globalAlpha = 1.3 * alpha;
      c.strokeStyle = colour(name);
      c.lineWidth = 1;
      c.beginPath();
      if (name === "mild") { c.moveTo(0, size / 2); c.lineTo(size, size / 2); }
      else for (const s of [-size, 0, size]) { c.moveTo(s, size); c.lineTo(s + size, 0); }
      c.stroke();
    }
    return u.ctx.createPattern(tile, "repeat");
  }
  function shade(chart) {
    return function (u) {
      const n = chart.regimes.length;
      const fills = chart.regimes.map(function (_, k) { return wash(u, regimeClass(k, n)); });
      const runs = chart.columns.regime;
      const box = u.bbox;
      u.ctx.save();
      u.ctx.beginPath();
      u.ctx.rect(box.left, box.top, box.width, box.height);
      u.ctx.clip();
      for (let i = 0; i < runs.length; i++) {
        const last = i + 1 < runs.length ? runs[i + 1][0] : time.length - 1;
        const a = u.valToPos(time[runs[i][0]], "x", true);
        const b = u.valToPos(time[last], "x", true);
        if (b < box.left || a > box.left + box.width) continue;
        u.ctx.fillStyle = fills[runs[i][1]];
        u.ctx.fillRect(a, box.top, Math.max(b - a, 1), box.height);
      }
      u.ctx.restore();
    };
  }
  function hatchMarkers(legend, n) {
    /* The last n entries of the legend are regimes, from wild to calm: mark them as they are drawn. */
    Array.from(legend.querySelectorAll(".u-marker")).slice(-n).forEach(function (marker, i) {
      marker.removeAttribute("style");
      marker.classList.add("swatch", regimeClass(n - 1 - i, n));
    });
  }

  function number(u, v) { return shown(v); }

  function blend(from, to, part) {
    /* Of two colours #rrggbb, by parts. */
    const channel = function (hex, i) { return parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16); };
    return "rgb(" + [0, 1, 2].map(function (i) {
      return Math.round((1 - part) * channel(from, i) + part * channel(to, i));
    }).join(",") + ")";
  }

  const build = {
    price: function (chart, make, legend) {
      if (chart.columns.price) {
        const price = decode(chart.columns.price);
        const options = base(300, chart.y_label,
          [{ label: chart.y_label.endsWith("values") ? "Value" : "Price", stroke: colour("ink"), width: 1.3, value: number, points: { show: false } }], {});
        if (chart.log) {
          options.scales.y = {
            distr: 3,
            range: function (u, low, high) { return low == null ? [1, 10] : [low / 1.05, high * 1.05]; },
          };
          options.axes[1].splits = roundPrices;
          options.axes[1].filter = function (u, splits) { return splits; };
        }
        if (chart.regimes.length) options.hooks.drawClear = [shade(chart)];
        make(options, [time, price], { price: price });
      }
      if (!chart.regimes.length) return;
      const n = chart.regimes.length;
      const parts = chart.columns.probabilities.map(decode);
      const last = time.map(function (_, i) {
        return parts.reduce(function (left, p) { return left - p[i]; }, 100);
      });
      parts.push(last);
      /* Stacked from the calm at the bottom; drawn from the top down, so that each covers the next. */
      const tops = [];
      parts.forEach(function (p, k) {
        tops.push(p.map(function (v, i) { return k ? tops[k - 1][i] + v : v; }));
      });
      const series = [];
      const data = [time];
      for (let k = n - 1; k >= 0; k--) {
        const name = regimeClass(k, n);
        series.push({
          label: chart.regimes[k], width: 0, points: { show: false },
          stroke: colour(name), fill: colour(name),
          value: function (u, v, s, i) { return i == null ? "" : Math.round(parts[k][i]) + " %"; },
        });
        data.push(tops[k]);
      }
      const options = base(130, "probability, %", series, {});
      options.scales.y = { range: [0, 100] };
      options.axes[1].space = 20;
      const csv = {};
      parts.forEach(function (p, k) { csv["predicted probability of " + chart.regimes[k] + ", %"] = p; });
      make(options, data, csv);
      hatchMarkers(legend, n);
    },
    memory: function (chart, make, legend) {
      /* Slots are no regimes: tints of one colour, the darkest for the first, in the legend's order. */
      const n = chart.columns.names.length;
      const tint = function (k) { return blend(colour("accent"), colour("paper"), n > 1 ? 0.8 * k / (n - 1) : 0); };
      const csv = {};
      for (const what of ["read", "write"]) {
        const parts = chart.columns[what].map(decode);
        const tops = [];
        parts.forEach(function (p, k) {
          tops.push(p.map(function (v, i) { return v == null || !k ? v : tops[k - 1][i] + v; }));
        });
        const series = [];
        const data = [time];
        for (let k = n - 1; k >= 0; k--) {
          const name = (what === "read" ? "Read " : "Written ") + chart.columns.names[k].split(" ").pop();
          series.push({
            label: name, width: 0, points: { show: false }, stroke: tint(k), fill: tint(k),
            value: function (u, v, s, i) {
              return i == null || parts[k][i] == null ? "" : Math.round(parts[k][i]) + " %";
            },
          });
          data.push(tops[k]);
          csv[what + " share of " + chart.columns.names[k] + ", %"] = parts[k];
        }
        const options = base(130, (what === "read" ? "read" : "written") + ", %", series, {});
        options.scales.y = { range: [0, 100] };
        options.axes[1].space = 20;
        make(options, data, csv);
      }
      Array.from(legend.querySelectorAll(".u-series:not(:first-child) .u-marker")).forEach(function (marker, i) {
        marker.style.background = tint(n - 1 - (i % n));
        marker.style.borderColor = colour("soft");
      });
    },
    volatility: function (chart, make) {
      const y = decode(chart.columns.y);
      const size = y.map(function (v) { return v == null ? null : Math.abs(v); });
      const std = decode(chart.columns.std);
      make(base(240, chart.y_label, [
        { label: "Realised size", stroke: colour("grey"), fill: colour("grey-tint"), width: 0.7,
          value: number, points: { show: false } },
        { label: "Predicted standard deviation", stroke: colour("accent"), width: 1.7, value: number,
          points: { show: false } },
      ], {}), [time, size, std], { realised: y, "predicted standard deviation": std });
    },
    gain: function (chart, make) {
      const dashes = [[], [6, 3], [2, 3], [9, 3, 2, 3], [1, 2]];
      const bands = [];
      const first = decode(chart.lines[0].gain);
      const reach = 3 * Math.max.apply(null, first.map(Math.abs));
      const data = [time];
      const csv = {};
      const series = chart.lines.map(function (line, j) {
        const gain = decode(line.gain);
        data.push(gain);
        csv["cumulative gain " + line.name + ", nats"] = gain;
        bands.push({ rows: decode(line.rows), low: decode(line.low), high: decode(line.high) });
        return {
          label: line.name, stroke: colour(j ? "grey" : "accent"), width: j ? 1.3 : 2, dash: dashes[j % 5],
          value: number, points: { show: false },
          /* One far larger gain would flatten the others: it waits for a click on its name. */
          show: j === 0 || Math.abs(gain[gain.length - 1]) <= reach,
        };
      });
      const options = base(280, chart.y_label, series, {});
      options.scales.y = {
        range: function (u, low, high) {
          bands.forEach(function (b, j) {
            if (!u.series[j + 1].show) return;
            b.rows.forEach(function (row, i) {
              if (time[row] < u.scales.x.min || time[row] > u.scales.x.max) return;
              low = Math.min(low, b.low[i]);
              high = Math.max(high, b.high[i]);
            });
          });
          return uPlot.rangeNum(Math.min(low, 0), Math.max(high, 0), 0.05, true);
        },
      };
      options.hooks.drawClear = [function (u) {
        const box = u.bbox;
        u.ctx.save();
        u.ctx.beginPath();
        u.ctx.rect(box.left, box.top, box.width, box.height);
        u.ctx.clip();
        bands.forEach(function (b, j) {
          if (!u.series[j + 1].show) return;
          u.ctx.fillStyle = colour(j ? "grey-tint" : "accent-tint");
          u.ctx.beginPath();
          const point = function (row, v) {
            u.ctx.lineTo(u.valToPos(time[row], "x", true), u.valToPos(v, "y", true));
          };
          b.rows.forEach(function (row, i) { point(row, b.low[i]); });
          for (let i = b.rows.length - 1; i >= 0; i--) point(b.rows[i], b.high[i]);
          u.ctx.fill();
        });
        u.ctx.strokeStyle = colour("soft");
        u.ctx.lineWidth = devicePixelRatio;
        u.ctx.beginPath();
        const zero = Math.round(u.valToPos(0, "y", true));
        u.ctx.moveTo(box.left, zero);
        u.ctx.lineTo(box.left + box.width, zero);
        u.ctx.stroke();
        u.ctx.restore();
      }];
      make(options, data, csv);
    },
    exceedances: function (chart, make, legend) {
      const y = decode(charts.volatility.columns.y);
      const one = decode(chart.columns.var_1);
      const five = decode(chart.columns.var_5);
      const options = base(260, chart.y_label, [
        { label: "Realised", stroke: colour("grey"), width: 0.7, value: number, points: { show: false } },
        { label: "5 % quantile", stroke: colour("accent"), width: 1.2, value: number, points: { show: false } },
        { label: "1 % quantile", stroke: colour("accent"), width: 1.2, dash: [4, 3], value: number,
          points: { show: false } },
      ], {});
      options.hooks.draw = [function (u) {
        const box = u.bbox;
        const size = 3.2 * devicePixelRatio;
        const beyond = new Set(chart.columns.hits_1);
        u.ctx.save();
        u.ctx.beginPath();
        u.ctx.rect(box.left, box.top, box.width, box.height);
        u.ctx.clip();
        u.ctx.strokeStyle = colour("ink");
        u.ctx.fillStyle = colour("wild");
        u.ctx.lineWidth = 0.8 * devicePixelRatio;
        for (const row of chart.columns.hits_5) {
          if (time[row] < u.scales.x.min || time[row] > u.scales.x.max) continue;
          const a = u.valToPos(time[row], "x", true);
          const b = u.valToPos(y[row], "y", true);
          u.ctx.beginPath();
          if (beyond.has(row)) {
            u.ctx.moveTo(a, b + size * 1.4);
            u.ctx.lineTo(a + size * 1.2, b - size);
            u.ctx.lineTo(a - size * 1.2, b - size);
            u.ctx.closePath();
            u.ctx.fill();
          } else u.ctx.arc(a, b, size * 0.6, 0, 7);
          u.ctx.stroke();
        }
        u.ctx.restore();
      }];
      for (const text of ["\u25cb beyond the 5 % quantile", "\u25bc beyond the 1 % quantile"]) {
        const key = document.createElement("span");
        key.textContent = text;
        legend.append(key);
      }
      make(options, [time, y, five, one], { realised: y, "5 % quantile": five, "1 % quantile": one });
    },
  };

  function save(name, columns) {
    const heads = Object.keys(columns);
    const quote = function (v) { return '"' + String(v).replace(/"/g, '""') + '"'; };
    const lines = [[isDate ? "Date" : "Row"].concat(heads.map(quote)).join(",")];
    time.forEach(function (t, i) {
      const label = isDate ? new Date(t * 1000).toISOString().slice(0, payload.time.s < 86400 ? 19 : 10) : t;
      lines.push([label].concat(heads.map(function (h) {
        const v = columns[h][i];
        return v == null ? "" : v;
      })).join(","));
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = name + ".csv";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function draw() {
    const kept = range;
    plots.forEach(function (p) { p.destroy(); });
    plots = [];
    for (const name of Object.keys(build)) {
      const chart = charts[name];
      if (!chart) continue;
      const holder = document.getElementById("plot-" + name);
      const legend = document.getElementById("legend-" + name);
      holder.replaceChildren();
      legend.replaceChildren();
      const all = {};
      build[name](chart, function (options, data, csv) {
        Object.assign(all, csv);
        options.width = holder.clientWidth || 600;
        options.legend.mount = function (u, el) { legend.append(el); };
        plots.push(new uPlot(options, data, holder));
      }, legend);
      const details = document.querySelector("#section-" + name + " details.numbers");
      let button = details.querySelector("button");
      if (!button) {
        button = document.createElement("button");
        button.type = "button";
        button.textContent = "Save all " + time.length.toLocaleString("en") + " rows as CSV";
        details.append(button);
        button.addEventListener("click", function () { save(name, all); });
      }
    }
    if (kept && plots.length) plots[0].setScale("x", { min: kept[0], max: kept[1] });
  }

  nav.hidden = false;
  nav.addEventListener("click", function (event) {
    const button = event.target.closest("button");
    if (!button || !plots.length) return;
    plots[0].setScale("x", { min: begin(button), max: time[time.length - 1] });
  });
  nav.querySelectorAll("button:not([data-span='0'])").forEach(function (b) {
    if (!isDate || begin(b) <= time[0]) b.remove(); // longer than all there is
  });

  draw();
  new ResizeObserver(function () {
    for (const p of plots) {
      const width = p.root.parentElement.clientWidth;
      if (width && width !== p.width && !root.classList.contains("printing"))
        p.setSize({ width: width, height: p.height });
    }
  }).observe(document.querySelector("main"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", function () {
    root.classList.add("printing");
    draw();
    plots.forEach(function (p) { p.setSize({ width: 680, height: p.height }); });
  });
  addEventListener("afterprint", function () {
    root.classList.remove("printing");
    draw();
  });
})();
