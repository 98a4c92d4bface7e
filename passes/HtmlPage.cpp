//===- HtmlPage.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/HtmlPage.h"

#include <cmath>
#include <cstdio>
#include <iterator>

namespace evo {

namespace {

/// Colours by role; the second set where the reader's system is dark.
constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --page:#ffffff; --card:#f6f7f9; --text:#1d2430; --soft:#5b6675; --rule:#dde2e9;
  --ground:#eef2f7; --odd:#e4eaf2; --stream:#c5ccd6; --buffer:#8db4e2; --live:#e8833a; --bar:#4c86c6; --alarm:#c0392b; --ink:#14202e; }
@media (prefers-color-scheme: dark) { :root { --page:#14181e; --card:#1c222a; --text:#e4e9f0; --soft:#9aa6b5; --rule:#313a46;
  --ground:#1f262f; --odd:#252e39; --stream:#566171; --buffer:#3f6ea3; --live:#d9772f; --bar:#5b95d6; --alarm:#ff7b6b; --ink:#ffffff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1100px; padding: 28px 24px 48px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 34px 0 8px; }
p { margin: 4px 0; } .soft { color: var(--soft); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 20px 0 0; }
.fact { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 14px; }
.fact b { display: block; font-size: 21px; } .fact span { color: var(--soft); font-size: 13px; }
.wide { overflow-x: auto; } .wide svg { display: block; width: 100%; min-width: 860px; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: left; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } td.number, th.number { text-align: right; }
tr.sum td { font-weight: 600; }
svg text { fill: var(--text); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; } svg .axis { fill: var(--soft); }
svg .module { fill: var(--text); } svg .strong { font-weight: 600; }
svg .inBox { text-anchor: middle; fill: var(--ink); font-size: 11px; pointer-events: none; }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .tick { stroke: var(--soft); } svg .lead { stroke: var(--soft); fill: none; }
svg .ground { fill: var(--ground); } svg .odd { fill: var(--odd); }
svg .stream { fill: var(--stream); stroke: var(--page); stroke-width: 1; }
svg .buffer { fill: var(--buffer); stroke: var(--page); stroke-width: 1; } svg .live { fill: var(--live); }
svg .mark { fill: var(--alarm); } svg .budget { stroke: var(--alarm); stroke-width: 1.5; stroke-dasharray: 6 4; }
svg .budgetText { fill: var(--alarm); } svg .bar { fill: var(--bar); }
svg .frontier { fill: none; stroke: var(--bar); stroke-width: 2; } svg .point { fill: var(--bar); stroke: transparent; stroke-width: 8; }
svg .policy { fill: var(--live); stroke: var(--page); stroke-width: 1.5; } svg .bound { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 2 4; }
svg .over { paint-order: stroke; stroke: var(--page); stroke-width: 4; stroke-linejoin: round; } code { font-size: 13px; overflow-wrap: anywhere; }
)css";

std::string cell(const std::string &text, bool isNumber, std::string_view tag = "td") {
  std::string html("<");
  html.append(tag).append(isNumber ? " class=\"number\">" : ">").append(escapeHtml(text));
  return html.append("</").append(tag).append(">");
}

} // namespace

std::string htmlTable(const std::vector<TextRow> &rows, std::string_view alignment,
                      const std::vector<size_t> &sums) {
  std::string text = "<div class=\"wide\"><table>\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    bool sum = false;
    for (size_t index : sums)
      sum |= index == r;
    text += sum ? "<tr class=\"sum\">" : "<tr>";
    for (size_t c = 0; c < rows[r].size(); ++c)
      text += cell(rows[r][c], alignment[c] == 'r', r == 0 ? "th" : "td");
    text += "</tr>\n";
  }
  return text + "</table></div>\n";
}

std::string htmlFact(const std::string &value, const std::string &what) {
  return "<div class=\"fact\"><b>" + escapeHtml(value) + "</b><span>" + escapeHtml(what) +
         "</span></div>\n";
}

std::string escapeHtml(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
    case '&':
      escaped += "&amp;";
      break;
    case '<':
      escaped += "&lt;";
      break;
    case '>':
      escaped += "&gt;";
      break;
    case '"':
      escaped += "&quot;";
      break;
    case '\'':
      escaped += "&#39;";
      break;
    default:
      escaped += c;
    }
  }
  return escaped;
}

std::string htmlPage(const std::string &title, const std::string &body) {
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escapeHtml(title) + "</title>\n<style>" + std::string(kStyle) +
         "</style>\n</head>\n<body>\n" + body + "</body>\n</html>\n";
}

std::string svgNumber(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

std::string svgElement(std::string_view name, std::string_view cssClass,
                       const std::vector<std::pair<std::string_view, double>> &attributes,
                       const std::string &content) {
  std::string text("<");
  text.append(name).append(" class=\"").append(cssClass).append("\"");
  for (const auto &[key, value] : attributes)
    text.append(" ").append(key).append("=\"").append(svgNumber(value)).append("\"");
  return text.append(">").append(content).append("</").append(name).append(">\n");
}

std::string svgLabel(std::string_view cssClass, double x, double y, const std::string &text) {
  return svgElement("text", cssClass, {{"x", x}, {"y", y}}, escapeHtml(text));
}

std::string exactBytes(double bytes) {
  constexpr const char *kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit)
    bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, "%.8g %s", bytes, kUnits[unit]);
  return text;
}

double decimalStep(double range) {
  double step = std::pow(10.0, std::floor(std::log10(range / 8)));
  for (double factor : {1.0, 2.0, 5.0, 10.0})
    if (range / (step * factor) <= 8)
      return step * factor;
  return step * 10;
}

} // namespace evo
