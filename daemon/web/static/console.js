// Refreshes the overview, and asks for reasons in a dialog. Every page works without this script too.
"use strict";

const dialog = document.getElementById("confirm");

async function fetched(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function ask(link) {
  const form = (await fetched(link.href)).getElementById("confirmation");
  dialog.replaceChildren(document.adoptNode(form));
  dialog.showModal();
  dialog.querySelector("#why").focus();
}

document.addEventListener("click", (event) => {
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  const link = event.target.closest("a[data-confirm]");
  if (link && plain && dialog.showModal) {
    event.preventDefault();
    ask(link).catch(() => { window.location = link.href; });
  } else if (event.target.closest("#confirm [data-close]")) {
    event.preventDefault();
    dialog.close();
  }
});

function keepFresh(region) {
  const box = document.getElementById("refresh");
  box.closest("label").hidden = false;
  window.setInterval(async () => {
    const busy = dialog.open || region.contains(document.activeElement);
    if (document.hidden || busy || !box.checked) return;
    try {
      region.replaceChildren(...(await fetched(window.location.pathname)).getElementById(region.id).childNodes);
    } catch {
      box.checked = false; // logged out, or the daemon does not answer: the old content stays
      document.getElementById("told").textContent = "This page is no longer refreshed. Load it again.";
    }
  }, Number(region.dataset.refresh) * 1000);
}

const overview = document.getElementById("overview");
if (overview) keepFresh(overview);
