// Draws the home page's charts. Lines differ in dashes and carry their names, so that no colour is needed.
"use strict";

(() => {
    const DASHES = [[], [8, 5], [2, 4], [10, 4, 2, 4]];
    const COLOURS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4"];
    const HEIGHT = 220;
    const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");

    const short = (value) => {
        for (const [size, sign] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
            if (value >= size) return `${Number((value / size).toPrecision(3))}${sign}`;
        }
        return `${Number(value.toPrecision(3))}`;
    };
    const duration = (ms) => (ms >= 1000 ? `${Number((ms / 1000).toPrecision(3))} s` : `${short(ms)} ms`);
    // A point between two gaps is no line: it gets a mark, as all points do where there is room.
    const marks = (plot, n, show) => {
        const values = plot.data[n];
        const indices = [...values.keys()].filter((i) => values[i] !== null);
        return show ? indices : indices.filter((i) => (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null);
    };
    const shown = (unit) => (value) => {
        if (value === null || value === undefined) return "–";
        return unit === "ms" ? duration(value) : short(value);
    };

    // The name of each line beside its last point; names too close together are moved apart.
    const nameLines = (plot) => {
        const { ctx, bbox } = plot;
        const scale = devicePixelRatio;
        const names = plot.series.slice(1).map((series, n) => {
            const values = plot.data[n + 1];
            let last = values.length - 1;
            while (last >= 0 && values[last] === null) last -= 1;
            return last < 0 ? null : { text: series.label, colour: css(COLOURS[n]), y: plot.valToPos(values[last], "y", true) };
        }).filter((name) => name).sort((a, b) => a.y - b.y);
        const gap = 13 * scale;
        names.forEach((name, n) => { if (n) name.y = Math.max(name.y, names[n - 1].y + gap); });
        const over = names.length ? names[names.length - 1].y - (bbox.top + bbox.height) : 0;
        ctx.save();
        ctx.font = `${12 * scale}px system-ui, sans-serif`;
        ctx.textAlign = "left";
        ctx.textBaseline = "middle";
        for (const name of names) {
            ctx.fillStyle = name.colour;
            ctx.fillText(name.text, bbox.left + bbox.width + 6 * scale, name.y - Math.max(over, 0));
        }
        ctx.restore();
    };

    const series = (chart) => chart.series.map((one, n) => ({
        label: one.label,
        stroke: css(COLOURS[n]),
        width: 2,
        dash: DASHES[n],
        points: { size: 5, filter: marks },
        value: (_, value) => shown(chart.unit)(value),
    }));

    const axis = (more) => ({
        stroke: css("--muted-fg"),
        grid: { stroke: css("--hairline-color"), width: 1 },
        ticks: { stroke: css("--hairline-color"), width: 1 },
        font: "12px system-ui, sans-serif",
        ...more,
    });

    const options = (chart, place) => ({
        width: place.clientWidth,
        height: HEIGHT,
        tzDate: utc,
        padding: [8, 72, 0, 0],
        series: [{ label: "from", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" }, ...series(chart)],
        scales: { y: { range: (_, __, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [
            axis({ space: 70, values: [
                [86400, "{MMM} {D}", null, null, null, null, null, null, 1],
                [3600, "{HH}:{mm}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
                [60, "{HH}:{mm}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
                [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
            ] }),
            axis({ size: 62, values: (_, ticks) => ticks.map(shown(chart.unit)) }),
        ],
        legend: {
            markers: {
                width: 2,
                stroke: (_, n) => css(COLOURS[n - 1]),
                fill: () => "transparent",
                dash: (_, n) => ["solid", "dashed", "dotted", "double"][n - 1],
            },
        },
        cursor: { drag: { x: false, y: false }, points: { size: 8 } },
        hooks: { draw: [nameLines] },
    });

    const plots = new Map();
    const draw = (chart) => {
        const place = document.querySelector(`[data-chart="${chart.key}"]`);
        plots.get(chart.key)?.destroy();
        const values = chart.series.map((one) => one.values);
        plots.set(chart.key, new uPlot(options(chart, place), [chart.times, ...values], place));
    };

    const charts = JSON.parse(document.getElementById("chart-data").textContent);
    const drawAll = () => charts.forEach(draw);
    drawAll();
    for (const chart of charts) {
        const place = document.querySelector(`[data-chart="${chart.key}"]`);
        new ResizeObserver(() => {
            const plot = plots.get(chart.key);
            if (place.clientWidth && plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height: HEIGHT });
        }).observe(place);
    }
    // The theme is the admin's switch or the system's; colours are read anew with either.
    new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
