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
    charts: charts.map(chart => chart.querySelectorAll(".bar").length),
    lefts: new Set(charts.map(chart => chart.getBoundingClientRect().left)).size,
    crowded: [...document.querySelectorAll(".chart tr")].filter(row => {
      const [name, bar, value] = ["th", ".bar", ".value"].map(one => row.querySelector(one));
      return name.scrollWidth > name.clientWidth || bar.getBoundingClientRect().width < 1
        || value.getBoundingClientRect().right > row.getBoundingClientRect().right;
    }).map(row => row.textContent),
    ranges: charts.map(chart => chart.querySelectorAll(".range").length),
    unexplained: [...document.querySelectorAll(".chart caption")]
      .map(head => head.textContent).filter(text => !/: (less|more) is better$/.test(text)),
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
