// The playground: writes the request, asks for a ticket, reads the stream, shows answer and decision.
// Everything that comes from outside is set as text, never as markup.
"use strict";

const NUMBERS = new Set(["Score", "Default", "Rank"]);
const form = document.getElementById("playground");
if (form) start();

function start() {
    const facts = JSON.parse(document.getElementById("playground-facts").textContent);
    let running = null;
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        play(true);
    });
    form.elements.why.addEventListener("click", () => form.reportValidity() && play(false));
    form.elements.stop.addEventListener("click", () => running?.abort());
    form.addEventListener("input", describe);
    form.elements.add.addEventListener("click", add);
    form.addEventListener("click", (event) => {
        const button = event.target.closest("button[name=remove]");
        if (button) remove(button.closest(".message"));
    });
    describe();

    // The focus goes where the work goes on, so that no mouse is needed.
    function add() {
        const last = rows().at(-1), row = last.cloneNode(true);
        row.querySelector("[name=role]").value = last.querySelector("[name=role]").value === "user" ? "assistant" : "user";
        row.querySelector("[name=text]").value = "";
        last.after(row);
        describe();
        row.querySelector("[name=text]").focus();
    }

    function remove(row) {
        const next = row.nextElementSibling ?? row.previousElementSibling;
        row.remove();
        describe();
        next.querySelector("[name=text]").focus();
    }

    function describe() {
        const embed = form.elements.method.value === "embed", all = rows();
        all.forEach((row, n) => {
            // What is not sent is not asked for either.
            row.hidden = row.disabled = embed && n > 0;
            row.querySelector("[name=text]").ariaLabel = embed ? "Texts, one a line" : `Message ${n + 1}`;
            row.querySelector("[name=role]").ariaLabel = `Role of message ${n + 1}`;
            const button = row.querySelector("[name=remove]");
            button.hidden = embed || all.length === 1;
            button.ariaLabel = `Remove message ${n + 1}`;
        });
        form.elements.add.disabled = all.length >= Number(all[0].parentElement.dataset.most);
        for (const part of form.querySelectorAll(".only-chat")) part.hidden = embed;
        for (const part of form.querySelectorAll(".only-embed")) part.hidden = !embed;
        show("playground-request", JSON.stringify(request(), null, 2));
    }

    async function play(send) {
        running?.abort();
        const mine = (running = new AbortController());
        const began = performance.now();
        let callId = null;
        clear(send);
        form.elements.stop.hidden = false;
        try {
            const answer = await fetch(facts.call, {
                method: "POST",
                headers: { "Content-Type": "application/json" },
                body: JSON.stringify({
                    ticket: await ticket(mine.signal),
                    toolId: form.elements.toolId.value,
                    method: form.elements.method.value,
                    body: request(),
                    send,
                }),
                signal: mine.signal,
            });
            callId = answer.headers.get("x-llm-caller-call-id");
            if (!answer.headers.get("content-type")?.startsWith("text/event-stream")) {
                throw new Error((await answer.json()).message);
            }
            for await (const event of events(answer.body)) shown(event, began);
        } catch (error) {
            if (error.name !== "AbortError") state(error.message, "failed");
            // The next call has begun to fill the page.
            else if (running === mine) stopped(send ? callId : null);
        } finally {
            if (running === mine) form.elements.stop.hidden = true;
        }
    }

    function stopped(callId) {
        state(callId ? "Stopped. The call is on record; what had come of the answer only where the client's content is kept." : "Stopped.", "failed");
        if (callId) document.getElementById("playground-trace").replaceChildren(toRecord(callId, "What was decided stands in the record"));
    }

    function toRecord(callId, words) {
        const link = element("a", words);
        link.href = `${facts.record}?trace=${encodeURIComponent(callId)}`;
        return link;
    }

    async function ticket(signal) {
        const answer = await fetch(facts.ticket, {
            method: "POST",
            headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
            signal,
        });
        if (!answer.ok || answer.redirected) throw new Error("You are not logged in any more, or may not do this. Reload the page.");
        return (await answer.json()).ticket;
    }

    function shown(event, began) {
        if (event.type === "delta") {
            if (event.delta.content) append(event.delta.content);
            for (const call of event.delta.toolCalls ?? []) append(`${call.name ?? ""}${call.arguments ?? ""}`);
        } else if (event.type === "completion") {
            figures(event.payload.usage, event.payload.providerInfo, facts.words);
        } else if (event.type === "answer") {
            answered(event.body, facts.words);
        } else if (event.error) {
            state(`${event.error}: ${event.message}`, "failed");
        } else if (event.type === "trace") {
            traced(event, facts, performance.now() - began);
        }
    }
}

function rows() {
    return Array.from(form.querySelectorAll(".message"));
}

function request() {
    const field = (name) => form.elements[name].value.trim();
    const body = { requestId: `playground-${Date.now()}`, callerTool: form.elements.toolId.value };
    if (field("provider")) body.provider = field("provider");
    if (field("model")) body.model = field("model");
    if (field("method") === "embed") {
        body.inputs = rows()[0].querySelector("[name=text]").value.split("\n").map((line) => line.trim()).filter(Boolean);
        return body;
    }
    body.messages = rows().map((row) => ({
        role: row.querySelector("[name=role]").value,
        content: row.querySelector("[name=text]").value,
    }));
    if (field("system")) body.messages.unshift({ role: "system", content: field("system") });
    if (field("temperature")) body.temperature = Number(field("temperature"));
    if (field("maxTokens")) body.maxTokens = Number(field("maxTokens"));
    return body;
}

// Server-sent events with JSON data; comments and [DONE] are passed over.
async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let pending = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        const blocks = (pending + value).split("\n\n");
        pending = blocks.pop();
        for (const block of blocks) {
            const data = block.startsWith("data: ") ? block.slice(6) : "";
            if (data && data !== "[DONE]") yield JSON.parse(data);
        }
    }
}

function clear(send) {
    show("playground-answer", "");
    document.getElementById("playground-figures").replaceChildren();
    document.getElementById("playground-trace").replaceChildren();
    state(send ? "Waiting for the answer …" : "Nothing is sent.", "");
}

function answered(body, words) {
    if (body.error) {
        state(`${body.error}: ${body.message}`, "failed");
        for (const detail of body.details ?? []) append(`${detail.path}: ${detail.message}\n`);
        return;
    }
    if (body.vectors) {
        const inner = body.vectors.map((vector) => `[${vector.slice(0, 6).map((x) => x.toFixed(4)).join(", ")}, …] ${vector.length} dimensions`);
        append(inner.join("\n"));
    } else {
        append(body.message.content);
        for (const call of body.message.toolCalls ?? []) append(`\n${call.name} ${call.arguments}`);
    }
    figures(body.usage, body.providerInfo, words);
}

function figures(usage, provider, words) {
    const strategy = provider.routing.strategy;
    const counted = usage.reported === false ? "not reported" : `${usage.inputTokens} in, ${usage.outputTokens} out`;
    pairs([["Provider", `${provider.name}, ${provider.model}`], ["Strategy", `${strategy}: ${words.strategy[strategy]}`],
        ["Tokens", counted], ...(provider.finishReason ? [["Finished", provider.finishReason]] : [])]);
}

function traced(trace, facts, took) {
    const good = trace.outcome === "ok";
    if (!trace.recorded) {
        state(good ? "This call would be made." : `This call would be refused: ${trace.problem.error}`, good ? "ok" : "failed");
    } else if (good) {
        state("Answered.", "ok");
    }
    if (trace.recorded) {
        const first = trace.firstEventMs === null ? [] : [["First event", `${trace.firstEventMs} ms`]];
        pairs([...first, ["In all", `${trace.durationMs} ms (${Math.round(took)} ms here)`]]);
    }
    const place = document.getElementById("playground-trace");
    place.replaceChildren(...story(trace, facts));
}

function story(trace, facts) {
    const { decided, problem } = trace, words = facts.words, parts = [];
    if (problem) {
        const why = [problem.error, problem.reason].filter(Boolean).join(", ");
        parts.push(element("p", `${words.stage[decided.stage] ?? ""} ${why}: ${problem.message}`, "notice failed"));
        for (const detail of problem.details ?? []) parts.push(element("p", `${detail.path}: ${detail.message}`));
    }
    if (decided.routing) {
        parts.push(element("p", words.rule[decided.routing.rule]));
        parts.push(candidates(decided, words));
        if (decided.routing.more) parts.push(element("p", `And ${decided.routing.more} more.`, "quiet"));
    }
    if (decided.rate) {
        const { maxRequests, intervalMs, remaining, own } = decided.rate;
        parts.push(element("p", `Limit: ${maxRequests} calls in any ${intervalMs} ms (${own ? "the client's own" : "the default"}); ${remaining} left.`));
    }
    if (decided.concurrency) parts.push(element("p", `At once: at most ${decided.concurrency.most}.`));
    if (trace.attempts.length) parts.push(attempts(trace.attempts));
    if (trace.recorded) {
        const link = element("a", "See it in the record");
        link.href = `${facts.record}?trace=${encodeURIComponent(trace.callId)}`;
        parts.push(link);
    }
    return parts;
}

function candidates(decided, words) {
    let place = 0;
    const rows = (decided.routing.considered ?? []).map((one) => {
        const field = decided.unable?.[one.provider];
        const out = one.excluded ? words.excluded[one.excluded] : field ? `its kind cannot do “${field}”` : "";
        const score = one.score ?? 0, bonus = one.bonus ?? 0;
        const health = element("span", words.health[one.health ?? "unknown"], `state ${one.health && one.health !== "unknown" ? one.health : "off"}`);
        const full = decided.busy?.includes(one.provider) ? ", but it had no place free" : "";
        const verdict = out ? `Left out: ${out}` : (++place === 1 ? "First choice" : `Choice ${place}`) + full;
        return [one.provider, one.model ?? "", `${score}`, bonus ? `+${bonus}` : "", `${score + bonus}`, health, verdict];
    });
    return table(["Provider", "Model", "Score", "Default", "Rank", "Health", "Verdict"], rows, "candidates");
}

function attempts(made) {
    const rows = made.map((one, n) => [`${n + 1}`, one.provider, one.model, `${one.durationMs} ms`,
        one.classification ? [one.classification, one.reason, one.status].filter(Boolean).join(", ") : "answered"]);
    return table(["Attempt", "Provider", "Model", "Time", "Result"], rows);
}

// As the same tables of a call's page: cards on a phone, with the titles in front of what they tell.
function table(titles, rows, kind = "") {
    const box = element("div", "", "scroll"), made = element("table", "", `plain stacked ${kind}`);
    const head = made.createTHead().insertRow();
    for (const title of titles) {
        const cell = element("th", title, NUMBERS.has(title) ? "number" : "");
        cell.scope = "col";
        head.append(cell);
    }
    const body = made.createTBody();
    for (const row of rows) {
        const line = body.insertRow();
        row.forEach((value, n) => {
            const isHead = n === 0 && titles[n] === "Provider";
            const cell = element(isHead ? "th" : "td", "", NUMBERS.has(titles[n]) ? "number" : "");
            if (isHead) cell.scope = "row";
            cell.dataset.label = titles[n];
            if (value !== "") cell.append(value);
            line.append(cell);
        });
    }
    box.append(made);
    return box;
}

function pairs(list) {
    const place = document.getElementById("playground-figures");
    for (const [name, value] of list) place.append(element("dt", name), element("dd", value));
}

function state(text, kind) {
    const place = document.getElementById("playground-state");
    place.textContent = text;
    place.className = kind ? `notice ${kind}` : "quiet";
}

function append(text) {
    document.getElementById("playground-answer").append(text);
}

function show(id, text) {
    document.getElementById(id).textContent = text;
}

function element(name, text = "", className = "") {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
}
