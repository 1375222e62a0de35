// A paper's button for printing. Without this file the browser's own menu prints it.

const button = document.querySelector("#print");
button.hidden = false;
button.addEventListener("click", () => print());
