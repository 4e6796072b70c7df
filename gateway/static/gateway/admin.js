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
