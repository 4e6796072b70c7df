// The record as it is written: rows over server-sent events. Everything that comes from outside is set as text.
"use strict";

const live = JSON.parse(document.getElementById("live-facts").textContent);
const body = document.querySelector("#live-rows tbody");
const button = document.getElementById("live-pause");
let paused = false, over = "", waiting = [], shown = 0, dropped = 0;

const source = new EventSource(live.tail);
source.addEventListener("open", () => {
    button.hidden = false;
    say();
});
source.addEventListener("calls", (event) => {
    const told = JSON.parse(event.data);
    dropped += told.notShown;
    waiting.push(...told.calls);
    // While paused no more is kept than would be shown.
    const spare = waiting.length - live.shown;
    if (spare > 0) {
        waiting.splice(0, spare);
        dropped += spare;
    }
    if (!paused) show();
    say();
});
source.addEventListener("end", (event) => end(JSON.parse(event.data).message));
source.addEventListener("error", () => {
    if (over) return;
    if (source.readyState === EventSource.CLOSED) refused();
    else tell("The connection was lost; trying again …", "notice degraded");
});

button.addEventListener("click", pause);
document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "p" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) pause();
});

// An EventSource does not tell what a refusal says: it is asked for once more.
async function refused() {
    const asking = new AbortController();
    let why = "The gateway did not let you watch";
    try {
        const answer = await fetch(live.tail, {signal: asking.signal});
        if (!answer.ok) why = (await answer.json()).message;
    } catch {
        // Then that is all there is to say.
    }
    asking.abort();
    end(`${why}. Reload the page.`);
}

function pause() {
    if (over) return;
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    if (!paused) show();
    say();
}

function show() {
    for (const call of waiting) body.prepend(line(call));
    shown += waiting.length;
    waiting = [];
    while (body.rows.length > live.shown) body.deleteRow(-1);
}

function line(call) {
    const row = document.createElement("tr"), head = document.createElement("th"), link = document.createElement("a");
    head.scope = "row";
    link.href = `${live.record}${encodeURIComponent(call.id)}/change/`;
    link.textContent = call.startedAt.replace("T", " ").slice(0, 19);
    head.append(link);
    const outcome = document.createElement("span");
    outcome.className = `state ${live.states[call.class] ?? "failed"}`;
    outcome.textContent = call.outcome;
    const unreported = call.strategy && !call.inputTokens && !call.outputTokens;
    row.append(head, cell("Outcome", [outcome, ...quietly(call.reason)]), cell("Client", visible(call.client)), cell("Method", [call.method]),
        cell("Provider", [...visible(call.provider || "–"), ...quietly(live.strategies[call.strategy])]), cell("Model", visible(call.model || "–")),
        cell("Time", [`${call.durationMs} ms`], "number"),
        cell("Tokens in", [unreported ? "–" : call.inputTokens], "number"), cell("Tokens out", [unreported ? "–" : call.outputTokens], "number"));
    return row;
}

function cell(label, content, className = "") {
    const made = document.createElement("td");
    made.dataset.label = label;
    made.className = className;
    made.append(...content);
    return made;
}

function quietly(text) {
    return text ? [" ", span("quiet", text)] : [];
}

function span(className, text) {
    const made = document.createElement("span");
    made.className = className;
    made.textContent = text;
    return made;
}

// Characters that nobody sees, as escapes: controls, formats, lines' ends, and blanks that are no space.
function visible(text) {
    return text.split(/([\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|(?! )\p{Zs}|^ | $)/u).filter(Boolean)
        .map((part, at, all) => /^([\p{C}\p{Z}])$/u.test(part) && (part !== " " || at === 0 || at === all.length - 1) ? span("escape", escaped(part)) : part);
}

function escaped(character) {
    const number = character.codePointAt(0);
    return number < 0x10000 ? `\\u${number.toString(16).padStart(4, "0")}` : `\\U${number.toString(16).padStart(8, "0")}`;
}

function say() {
    const place = document.getElementById("live-dropped");
    place.hidden = dropped === 0;
    place.textContent = `Not listed here, because more came at once, or while the connection was lost, than this page shows: ${calls(dropped)}. All are in the record.`;
    if (over) return;
    if (paused) tell(`Paused. Waiting to be shown: ${calls(waiting.length)}.`, "notice degraded");
    else tell(shown ? `Live: ${calls(shown)} since this page was opened.` : "Live. Waiting for the next call …", "quiet");
}

function calls(number) {
    return `${number} ${number === 1 ? "call" : "calls"}`;
}

function end(message) {
    over = message;
    source.close();
    button.hidden = true;
    tell(message, "notice failed");
}

function tell(text, className) {
    const place = document.getElementById("live-state");
    place.textContent = text;
    place.className = className;
}
