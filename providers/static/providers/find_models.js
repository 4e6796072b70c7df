// "Find models" on the provider's form: asks the provider as it is typed, and offers what it lists.
// What the provider sends is set as text, never as markup.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const box = document.getElementById("find-models");
    const field = document.getElementById("id_default_model");
    if (!box || !field) return;
    const button = box.querySelector("button"), select = box.querySelector("select");
    const said = box.querySelector("[role=status]");
    box.hidden = false;

    async function ask() {
        const typed = new URLSearchParams(new FormData(field.form));
        typed.set("provider", box.dataset.provider);
        const answer = await fetch(box.dataset.url, {
            method: "POST",
            headers: { "X-CSRFToken": field.form.elements.csrfmiddlewaretoken.value },
            body: typed,
        });
        if (!answer.ok || answer.redirected) throw new Error("You are not logged in any more, or may not do this. Reload the page.");
        return answer.json();
    }

    function tell(text, level) {
        said.hidden = false;
        said.textContent = text;
        said.className = level ? `notice ${level}` : "quiet";
    }

    function offer(models) {
        const known = document.getElementById("known-models");
        const listed = new Set(Array.from(known.options, (option) => option.value));
        known.append(...models.filter((model) => !listed.has(model)).map((model) => new Option(model, model)));
        select.replaceChildren(new Option("Choose …", ""), ...models.map((model) => new Option(model, model)));
        select.value = models.includes(field.value) ? field.value : "";
        select.parentElement.hidden = models.length === 0;
    }

    button.addEventListener("click", async () => {
        button.disabled = true;
        tell("Asking … this may take 5 seconds.", "");
        try {
            const found = await ask();
            offer(found.models);
            tell(found.said, found.level);
        } catch (error) {
            tell(error.message, "failed");
        } finally {
            button.disabled = false;
        }
    });

    select.addEventListener("change", () => {
        if (select.value) field.value = select.value;
    });
});
