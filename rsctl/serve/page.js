// Runs before textual-serve's script opens the terminal, which takes the font size from there.
// Eighty columns fit a phone, with characters of at least 8 pixels; a cell is 0.6 times as wide as its font is high.
"use strict";
const size = Math.floor(window.innerWidth / 80 / 0.6);
document.getElementById("terminal").dataset.fontSize = String(Math.min(15, Math.max(8, size)));
// Keys go to the terminal without a click on it first, once the connection that carries them is open.
new MutationObserver((_, observer) => {
  if (!document.body.classList.contains("-first-byte")) return;
  observer.disconnect();
  document.querySelector(".xterm-helper-textarea").focus();
}).observe(document.body, { attributeFilter: ["class"] });
