// Light or dark as the host's admin was switched to, before anything is drawn: Django's own admin
// keeps the choice under one name, django-unfold's under another. Without it, as the system says.
try {
  const chosen = localStorage.getItem("_x_adminTheme") ?? localStorage.getItem("theme") ?? "";
  const theme = chosen.replaceAll('"', "");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing for anybody has nothing to say.
}
