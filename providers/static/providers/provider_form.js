// The provider's form follows the chosen kind. All facts come with the page; the server checks what is sent.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("id_kind");
    const data = document.getElementById("kinds");
    if (!select || !data) return;
    const kinds = JSON.parse(data.textContent);
    const box = document.getElementById("kind-facts");
    const url = document.getElementById("id_base_url");
    const usual = new Set(Object.values(kinds).map((fact) => fact.baseUrl).filter(Boolean));

    function tell(fact) {
        box.hidden = false;
        for (const place of box.querySelectorAll("[data-fact]")) place.textContent = fact[place.dataset.fact];
        for (const part of box.querySelectorAll("[data-with]")) part.hidden = !fact[part.dataset.with];
        for (const part of box.querySelectorAll("[data-without]")) part.hidden = !!fact[part.dataset.without];
    }

    // What the kind cannot do is not sent, and is there again when the choice goes back.
    function limit(able) {
        for (const row of document.querySelectorAll("tr[data-capability]")) {
            const shown = able.includes(row.dataset.capability) || "stored" in row.dataset;
            row.hidden = !shown;
            for (const input of row.querySelectorAll("input:not([type=hidden])")) input.disabled = !shown;
        }
    }

    function follow() {
        const fact = kinds[select.value];
        if (!fact) return;
        tell(fact);
        limit(fact.capabilities);
        // An address that a kind brought makes room for the next kind's; what somebody typed stays.
        if (!url.value || usual.has(url.value)) url.value = fact.baseUrl;
    }

    select.addEventListener("change", follow);
    if (kinds[select.value]) limit(kinds[select.value].capabilities);
});
