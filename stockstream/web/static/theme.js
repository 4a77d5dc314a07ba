// Runs before the first paint, so that a chosen theme does not flash the other one.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    root.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
    dispatchEvent(new Event("theme"));
  };
  dark.addEventListener("change", apply);
  addEventListener("toggle-theme", () => {
    const other = root.dataset.theme === "dark" ? "light" : "dark";
    if (other === (dark.matches ? "dark" : "light")) localStorage.removeItem("theme");
    else localStorage.setItem("theme", other);
    apply();
  });
  apply();
})();
