addEventListener("load", () => {
  const code = document.querySelectorAll(".code");
  const charts = [...document.querySelectorAll(".chart")];
  const visible = () => [...code].filter(one => one.offsetParent).map(one => one.querySelector("pre").dataset.file);
  const tabs = [...document.querySelectorAll(".tabs input")];
  const first = visible();
  tabs.at(-1).click();
  const last = visible();
  tabs[0].click();
  const seen = {
    errors: window.seenErrors,
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    charts: charts.map(chart => chart.querySelectorAll(".bar, .plot i").length),
    lefts: new Set(charts.map(chart => chart.getBoundingClientRect().left)).size,
    crowded: [...document.querySelectorAll(".chart tr")].filter(row => {
      const [name, bar, value] = row.querySelectorAll("th, .bar, .value");
      return name.scrollWidth > name.clientWidth || bar.getBoundingClientRect().width < 1
        || value.getBoundingClientRect().left + value.scrollWidth > row.getBoundingClientRect().right;
    }).map(row => row.textContent),
    outside: [...document.querySelectorAll(".plot i, .plot span")].filter(mark => {
      const [inner, outer] = [mark, mark.closest(".card")].map(one => one.getBoundingClientRect());
      return inner.left < outer.left || inner.right > outer.right || inner.top < outer.top || inner.bottom > outer.bottom;
    }).length,
    lines: [...document.querySelectorAll("polyline")].map(line => line.points.numberOfItems),
    tabs: tabs.filter(tab => tab.parentElement.offsetParent).map(tab => tab.parentElement.textContent),
    first,
    last,
    files: [...code].map(one => one.querySelector("pre").dataset.file),
    texts: [...code].map(one => one.querySelector("pre").textContent),
    overflow: document.documentElement.scrollWidth - innerWidth,
    width: innerWidth,
  };
  parent.postMessage(btoa(unescape(encodeURIComponent(JSON.stringify(seen)))), "*");
});
