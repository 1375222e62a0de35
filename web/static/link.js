// The page by which somebody with a link sets a password: the link's secret is behind the `#`, where
// no server sees it, and comes from there into the form. Without this file it is typed in.

const secret = location.hash.slice(1);
if (secret) {
  document.querySelector("#secret").value = secret;
  document.querySelector("#code").hidden = true;
}
