// Small comforts of the admin's own pages; without scripts everything still works.
"use strict";

// <button data-copy="#id">: copies the text of that element, and says so.
document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.querySelector(button.dataset.copy).textContent;
    try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
    } catch {
        // No clipboard without a secure context: the text is selected instead.
        getSelection().selectAllChildren(document.querySelector(button.dataset.copy));
        button.textContent = "Press Ctrl+C";
    }
});

// <input data-chooses="date"> belongs to the radio button of that value in its fieldset: typing there chooses it,
// and choosing another clears what was typed, which would not count.
document.addEventListener("input", (event) => {
    const fieldset = event.target.closest("fieldset");
    const typed = fieldset?.querySelector("[data-chooses]");
    if (!typed) return;
    const choice = fieldset.querySelector(`input[type=radio][value="${typed.dataset.chooses}"]`);
    if (event.target === typed) choice.checked = choice.checked || typed.value !== "";
    else if (event.target.type === "radio" && event.target !== choice) typed.value = "";
});
