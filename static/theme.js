// Before anything is painted: light or dark, as chosen here or as the system says.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const chosen = localStorage.getItem("theme");
    document.documentElement.dataset.bsTheme = chosen || (system.matches ? "dark" : "light");
  };
  show();
  system.addEventListener("change", show);
})();
