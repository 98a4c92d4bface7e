//===- LossCurve.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/LossCurve.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace evo {

namespace {

constexpr double kWidth = 720, kHeight = 400;
constexpr double kLeft = 76, kRight = 700, kTop = 48, kBottom = 344;
// Middle tones: 4 : 1 or more against white and against black.
constexpr std::string_view kStyle =
    "<style>text{font:13px system-ui,sans-serif;fill:#767b85}.title{font-size:15px;"
    "font-weight:600}.grid{stroke:#767b85;stroke-opacity:.25}.axis{stroke:#767b85}"
    ".curve{fill:none;stroke:#2f7de1;stroke-width:2;stroke-linejoin:round}.end{fill:#2f7de1}"
    ".skip{fill:none;stroke:#d9622b;stroke-width:2}</style>\n";

std::string number(const char *format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string at(double value) { return number("%.2f", value); }
std::string label(double value) { return number("%.4g", value); }

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text)
    out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return out;
}

/// An axis from values to pixels.
struct Axis {
  double least = 0, most = 1, begin = 0, end = 1;
  bool logarithmic = false;

  double map(double value) const { return logarithmic ? std::log10(value) : value; }
  double pixel(double value) const {
    return begin + (map(value) - map(least)) / (map(most) - map(least)) * (end - begin);
  }
};

/// 1, 2 or 5 times a power of ten that cuts `span` into `parts` or fewer.
double niceStep(double span, int parts) {
  double power = std::pow(10, std::floor(std::log10(span / parts)));
  for (double factor : {1., 2., 5.})
    if (span / (factor * power) <= parts)
      return factor * power;
  return 10 * power;
}

std::vector<double> linearTicks(const Axis &axis, int parts) {
  double step = niceStep(axis.most - axis.least, parts);
  std::vector<double> ticks;
  for (double i = std::ceil(axis.least / step - 1e-9); i * step <= axis.most * (1 + 1e-9); ++i)
    ticks.push_back(i * step);
  return ticks;
}

/// Powers of ten, and their double and fivefold where there are few.
std::vector<double> logTicks(const Axis &axis) {
  double first = std::floor(std::log10(axis.least)), last = std::ceil(std::log10(axis.most));
  double every = std::max(1., std::ceil((last - first) / 8));
  std::vector<double> ticks;
  for (double power = first; power <= last; power += every)
    for (double factor : {1., 2., 5.}) {
      double value = factor * std::pow(10, power);
      bool shown = factor == 1 || last - first <= 3;
      if (shown && value >= axis.least * (1 - 1e-9) && value <= axis.most * (1 + 1e-9))
        ticks.push_back(value);
    }
  return ticks;
}

Axis lossAxis(std::span<const StepReport> steps) {
  Axis axis{INFINITY, -INFINITY, kBottom, kTop, false};
  for (const StepReport &step : steps)
    if (std::isfinite(step.loss)) {
      axis.least = std::min(axis.least, step.loss);
      axis.most = std::max(axis.most, step.loss);
    }
  if (axis.least > axis.most)
    axis.least = 0, axis.most = 1;
  axis.logarithmic = axis.least > 0 && axis.most > 10 * axis.least;
  if (axis.logarithmic) {
    axis.least *= 0.9, axis.most *= 1.1;
    return axis;
  }
  // From 0, where that wastes no more than half of the picture.
  double span = axis.most - axis.least;
  if (axis.least > 0 && axis.least <= axis.most / 2)
    axis.least = 0;
  else
    axis.least -= span > 0 ? span / 20 : std::abs(axis.least) / 10 + 1e-12;
  axis.most += span > 0 ? span / 20 : std::abs(axis.most) / 10 + 1e-12;
  return axis;
}

std::string line(std::string_view style, double x1, double y1, double x2, double y2) {
  return std::string("<line class=\"").append(style) + "\" x1=\"" + at(x1) + "\" y1=\"" + at(y1) +
         "\" x2=\"" + at(x2) + "\" y2=\"" + at(y2) + "\"/>\n";
}

std::string words(double x, double y, std::string_view anchor, std::string_view content,
                  std::string_view more = "") {
  return std::string("<text x=\"") + at(x) + "\" y=\"" + at(y) + "\" text-anchor=\"" +
         std::string(anchor) + "\"" + std::string(more) + ">" + escaped(content) + "</text>\n";
}

std::string grid(const Axis &x, const Axis &y) {
  std::string svg;
  for (double tick : y.logarithmic ? logTicks(y) : linearTicks(y, 6)) {
    svg += line("grid", kLeft, y.pixel(tick), kRight, y.pixel(tick));
    svg += words(kLeft - 8, y.pixel(tick) + 4, "end", label(tick));
  }
  for (double tick : linearTicks(x, 8))
    if (tick == std::round(tick)) {
      svg += line("axis", x.pixel(tick), kBottom, x.pixel(tick), kBottom + 5);
      svg += words(x.pixel(tick), kBottom + 20, "middle", number("%.0f", tick));
    }
  svg += line("axis", kLeft, kBottom, kRight, kBottom);
  svg += line("axis", kLeft, kTop, kLeft, kBottom);
  svg += words((kLeft + kRight) / 2, kBottom + 42, "middle", "optimizer step");
  std::string turned = " transform=\"rotate(-90 18 " + at((kTop + kBottom) / 2) + ")\"";
  return svg + words(18, (kTop + kBottom) / 2, "middle",
                     y.logarithmic ? "loss (logarithmic)" : "loss", turned);
}

/// The curve in pieces between losses that are not finite, and marks.
std::string curve(std::span<const StepReport> steps, const Axis &x, const Axis &y) {
  std::string svg, points;
  auto flush = [&] {
    if (!points.empty())
      svg += "<polyline class=\"curve\" points=\"" + points + "\"/>\n";
    points.clear();
  };
  const StepReport *last = nullptr;
  for (size_t i = 0; i < steps.size(); ++i) {
    const StepReport &step = steps[i];
    double across = x.pixel(x.least + static_cast<double>(i));
    if (!std::isfinite(step.loss)) {
      flush();
      continue;
    }
    points += (points.empty() ? "" : " ") + at(across) + "," + at(y.pixel(step.loss));
    if (step.skipped)
      svg += "<circle class=\"skip\" cx=\"" + at(across) + "\" cy=\"" + at(y.pixel(step.loss)) +
             "\" r=\"5\"><title>skipped: gradients passed the largest number</title></circle>\n";
    last = &step;
  }
  flush();
  if (last) {
    double across = x.pixel(x.least + static_cast<double>(last - steps.data()));
    svg += "<circle class=\"end\" cx=\"" + at(across) + "\" cy=\"" + at(y.pixel(last->loss)) +
           "\" r=\"3.5\"/>\n";
  }
  return svg;
}

} // namespace

std::string lossCurveSvg(std::span<const StepReport> steps, std::string_view title) {
  double first = steps.empty() ? 0 : static_cast<double>(steps.front().step);
  double count = static_cast<double>(steps.size());
  Axis x{first, first + std::max(count - 1, 1.), kLeft, kRight, false};
  Axis y = lossAxis(steps);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number("%.0f", kWidth) +
                    "\" height=\"" + number("%.0f", kHeight) + "\" viewBox=\"0 0 " +
                    number("%.0f", kWidth) + " " + number("%.0f", kHeight) +
                    "\" role=\"img\">\n<title>" + escaped(title) + "</title>\n";
  svg += kStyle;
  svg += words(kLeft, 26, "start", title, " class=\"title\"");
  if (!steps.empty())
    svg += words(kRight, 26, "end", label(steps.front().loss) + " → " + label(steps.back().loss));
  return svg + grid(x, y) + curve(steps, x, y) + "</svg>\n";
}

} // namespace evo
