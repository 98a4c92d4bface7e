//===- HtmlFrontier.cpp - time over memory as a page ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The frontier as a step line: the height at some memory is the time of auto's plan within it.
//===----------------------------------------------------------------------===//
#include "passes/HtmlPage.h"
#include "passes/ReportData.h"
#include "passes/SweepTables.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace evo {

namespace {

constexpr double kLeft = 84, kTop = 30, kWidth = 890, kHeight = 400, kRight = 30, kFoot = 58;

/// From values to the length of an axis: by their logarithms where they differ by a lot.
class Axis {
public:
  Axis(double least, double most, double below, double above, double ratio)
      : logarithmic(most > ratio * least) {
    const double from = scale(least), to = scale(most);
    const double range = to > from ? to - from : std::max(std::abs(to) * 0.02, 1e-9);
    low = from - below * range;
    high = to + above * range;
  }
  double share(double value) const { return (scale(value) - low) / (high - low); }
  double least() const { return logarithmic ? std::exp(low) : low; }
  double most() const { return logarithmic ? std::exp(high) : high; }
  bool logarithmic;

private:
  double scale(double value) const { return logarithmic ? std::log(value) : value; }
  double low = 0, high = 1;
};

/// Powers of two, or multiples of one where too few of them lie on the axis.
std::vector<double> byteTicks(const Axis &axis) {
  std::vector<double> ticks;
  if (axis.most() >= 8 * axis.least()) {
    const double powers = std::log2(axis.most() / axis.least());
    const double factor = std::exp2(std::ceil(powers / 10));
    for (double bytes = std::exp2(std::ceil(std::log2(axis.least()))); bytes <= axis.most();
         bytes *= factor)
      ticks.push_back(bytes);
    return ticks;
  }
  const double step = std::exp2(std::ceil(std::log2((axis.most() - axis.least()) / 8)));
  for (double bytes = std::ceil(axis.least() / step) * step; bytes <= axis.most(); bytes += step)
    ticks.push_back(bytes);
  return ticks;
}

std::vector<double> timeTicks(const Axis &axis) {
  std::vector<double> ticks;
  if (!axis.logarithmic) {
    const double step = decimalStep(axis.most() - axis.least());
    for (double ms = std::ceil(axis.least() / step) * step; ms <= axis.most(); ms += step)
      ticks.push_back(ms);
    return ticks;
  }
  for (double power = std::pow(10.0, std::floor(std::log10(axis.least()))); power <= axis.most();
       power *= 10)
    for (double factor : {1.0, 2.0, 5.0})
      if (double ms = power * factor; ms >= axis.least() && ms <= axis.most())
        ticks.push_back(ms);
  return ticks;
}

struct Box {
  double left, right, top, bottom;
  bool meets(const Box &other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

/// A text beside a place, with the box that it fills.
struct Placing {
  std::string_view cssClass;
  double x, y;
  Box box;
};

Placing placeText(std::string_view cssClass, double anchor, double x, double y, size_t letters) {
  constexpr double kStrong = 1.25; // for letters that are bold
  const double width = kStrong * kLetterWidth * static_cast<double>(letters);
  const double left = x - anchor * width;
  return {cssClass, x, y, {left, left + width, y - 11, y + 3}};
}

/// What the memory axis has to show. A budget that would take more of it than the rest does is not
/// on it.
std::pair<double, double> memoryRange(const SweepReport &report) {
  auto least = static_cast<double>(report.sweep.steps.front().budgetBytes);
  auto most = static_cast<double>(report.sweep.steps.back().budgetBytes);
  for (const PolicyNeed &need : report.sweep.named)
    most = std::max(most, static_cast<double>(need.peakBytes));
  const auto budget = static_cast<double>(report.budgetBytes);
  const double ratio = most / least;
  if (budget > most && budget <= most * ratio)
    most = budget;
  if (budget < least && budget >= least / ratio)
    least = budget;
  return {least, most};
}

double fastestMs(const SweepReport &report) {
  return static_cast<double>(std::max<int64_t>(1, report.sweep.lowerBoundNs)) / 1e6;
}

double slowestMs(const SweepReport &report) {
  double ms = static_cast<double>(report.sweep.steps.front().predictedNs) / 1e6;
  for (const PolicyNeed &need : report.sweep.named)
    ms = std::max(ms, need.predictedMs);
  return ms;
}

class FrontierPicture {
public:
  explicit FrontierPicture(const SweepReport &report)
      : report(report), steps(report.sweep.steps),
        memory(memoryRange(report).first, memoryRange(report).second, 0.04, 0.04, 3),
        time(fastestMs(report), slowestMs(report), 0.12, 0.08, 4) {}

  std::string draw() {
    const std::string lines = drawGround() + drawGrid() + drawBound() + drawBudget();
    const std::string frontier = drawFrontier();
    return "<svg viewBox=\"0 0 " + svgNumber(kLeft + kWidth + kRight) + " " +
           svgNumber(kTop + kHeight + kFoot) +
           "\" role=\"img\" aria-label=\"predicted time over memory\">\n" + lines + frontier +
           drawPolicies() + "</svg>\n";
  }

private:
  double x(double bytes) const { return kLeft + kWidth * memory.share(bytes); }
  double x(int64_t bytes) const { return x(static_cast<double>(bytes)); }
  double y(double ms) const { return kTop + kHeight * (1 - time.share(ms)); }
  double yOf(const SweepPoint &point) const {
    return y(static_cast<double>(point.predictedNs) / 1e6);
  }
  std::string line(std::string_view cssClass, double x1, double y1, double x2, double y2) const {
    return svgElement("line", cssClass, {{"x1", x1}, {"y1", y1}, {"x2", x2}, {"y2", y2}}, "");
  }
  std::string hint(int64_t bytes, double ms) const {
    return plan::formatBytes(bytes) + " (" + std::to_string(bytes) + " bytes): " + formatMs(ms) +
           ", " + formatTimes(report, ms) + " x the lower bound";
  }
  std::string text(const Placing &placing, const std::string &content) {
    taken.push_back(placing.box);
    return svgLabel(placing.cssClass, placing.x, placing.y, content);
  }

  std::string drawGround() const;
  std::string drawGrid() const;
  std::string drawBound();
  std::string drawBudget();
  std::string drawFrontier();
  std::string drawPolicies();
  double badness(const Box &box) const;

  const SweepReport &report;
  const std::vector<SweepPoint> &steps;
  Axis memory, time;
  std::vector<Box> taken; ///< where labels and dots are
  std::vector<Box> edges; ///< of the frontier
};

/// Where no plan fits.
std::string FrontierPicture::drawGround() const {
  const int64_t least = steps.front().budgetBytes;
  return svgElement("rect", "ground",
                    {{"x", kLeft}, {"y", kTop}, {"width", x(least) - kLeft}, {"height", kHeight}},
                    "<title>no plan fits below " + escapeHtml(plan::formatBytes(least)) + " (" +
                        std::to_string(least) + " bytes)</title>");
}

std::string FrontierPicture::drawGrid() const {
  const double floor = kTop + kHeight, right = kLeft + kWidth;
  std::string text;
  for (double bytes : byteTicks(memory))
    text += line("grid", x(bytes), kTop, x(bytes), floor) +
            svgLabel("axis middle", x(bytes), floor + 18, exactBytes(bytes));
  for (double ms : timeTicks(time)) {
    char name[32];
    std::snprintf(name, sizeof name, "%g ms", ms);
    text +=
        line("grid", kLeft, y(ms), right, y(ms)) + svgLabel("axis end", kLeft - 8, y(ms) + 4, name);
  }
  text += line("tick", kLeft, floor, right, floor) + line("tick", kLeft, kTop, kLeft, floor);
  return text + svgLabel("axis", kLeft - 60, kTop - 12, "predicted time") +
         svgLabel("axis end", right, floor + 42,
                  memory.logarithmic ? "memory of the device (logarithmic)"
                                     : "memory of the device");
}

std::string FrontierPicture::drawBound() {
  const double ms = fastestMs(report), at = y(ms);
  const std::string name = "lower bound " + formatMs(ms);
  return line("bound", kLeft, at, kLeft + kWidth, at) +
         text(placeText("axis over", 0, kLeft + 10, at + 16, name.size()), name);
}

std::string FrontierPicture::drawBudget() {
  const double at = x(report.budgetBytes), end = kLeft + kWidth;
  std::string name = "budget " + plan::formatBytes(report.budgetBytes);
  const bool left = at<kLeft, right = at> end - 150;
  if (left || at > end)
    name += left ? ", left of this" : ", right of this";
  const double edge = left ? kLeft : std::min(at, end);
  return (left || at > end ? "" : line("budget", at, kTop, at, kTop + kHeight)) +
         text(placeText(right ? "budgetText end over" : "budgetText over", right ? 1 : 0,
                        edge + (right ? -7 : 7), kTop + 14, name.size()),
              name);
}

/// Steps that end within half a pixel are drawn as one.
std::string FrontierPicture::drawFrontier() {
  double lastX = x(steps.front().budgetBytes), lastY = yOf(steps.front());
  std::string path = "M" + svgNumber(lastX) + " " + svgNumber(lastY), dots;
  for (size_t i = 1; i < steps.size(); ++i) {
    const double nextX = x(steps[i].budgetBytes), nextY = yOf(steps[i]);
    if (nextX - lastX < 0.5 && i + 1 < steps.size())
      continue;
    path += " H" + svgNumber(nextX) + " V" + svgNumber(nextY);
    edges.push_back({lastX, nextX, lastY - 1, lastY + 1});
    edges.push_back({nextX - 1, nextX + 1, nextY, lastY});
    lastX = nextX;
    lastY = nextY;
  }
  edges.push_back({lastX, kLeft + kWidth, lastY - 1, lastY + 1});
  path += " H" + svgNumber(kLeft + kWidth);
  for (const SweepPoint &point : report.points)
    dots += svgElement(
        "circle", "point", {{"cx", x(point.budgetBytes)}, {"cy", yOf(point)}, {"r", 3}},
        "<title>" +
            escapeHtml(hint(point.budgetBytes, static_cast<double>(point.predictedNs) / 1e6)) +
            "</title>");
  return "<path class=\"frontier\" d=\"" + path + "\"/>\n" + dots;
}

/// How much a label there covers of others, of the frontier and of what lies outside.
double FrontierPicture::badness(const Box &box) const {
  double sum = 0;
  for (const Box &other : taken)
    sum += box.meets(other) ? 10 : 0;
  for (const Box &edge : edges)
    if (box.meets(edge)) {
      sum += 2;
      break;
    }
  const bool inside = box.left >= kLeft && box.right <= kLeft + kWidth + kRight &&
                      box.top >= kTop && box.bottom <= kTop + kHeight;
  return inside ? sum : sum + 100;
}

std::string FrontierPicture::drawPolicies() {
  std::string dots, names;
  for (const PolicyNeed &need : report.sweep.named) {
    const double cx = x(need.peakBytes), cy = y(need.predictedMs);
    taken.push_back({cx - 6, cx + 6, cy - 6, cy + 6});
    dots += svgElement("circle", "policy", {{"cx", cx}, {"cy", cy}, {"r", 6}},
                       "<title>" +
                           escapeHtml(policyName(need.policy).str() + ", " +
                                      hint(need.peakBytes, need.predictedMs)) +
                           "</title>");
  }
  for (const PolicyNeed &need : report.sweep.named) {
    const double cx = x(need.peakBytes), cy = y(need.predictedMs);
    const std::string name = policyName(need.policy).str();
    const Placing places[] = {placeText("strong over", 0, cx + 11, cy + 4, name.size()),
                              placeText("strong end over", 1, cx - 11, cy + 4, name.size()),
                              placeText("strong middle over", 0.5, cx, cy - 11, name.size()),
                              placeText("strong middle over", 0.5, cx, cy + 20, name.size()),
                              placeText("strong over", 0, cx + 9, cy - 12, name.size()),
                              placeText("strong end over", 1, cx - 9, cy - 12, name.size()),
                              placeText("strong over", 0, cx + 9, cy + 20, name.size()),
                              placeText("strong end over", 1, cx - 9, cy + 20, name.size())};
    const Placing *best = std::ranges::min_element(
        places, {}, [&](const Placing &place) { return badness(place.box); });
    names += text(*best, name);
  }
  return dots + names;
}

std::string factsHtml(const SweepReport &report) {
  const std::vector<SweepPoint> &steps = report.sweep.steps;
  std::optional<int64_t> within = timeWithin(steps, report.budgetBytes);
  auto ms = [](int64_t ns) { return formatMs(static_cast<double>(ns) / 1e6); };
  return "<div class=\"facts\">\n" +
         htmlFact(plan::formatBytes(steps.front().budgetBytes),
                  "smallest budget, " + ms(steps.front().predictedNs)) +
         htmlFact(plan::formatBytes(steps.back().budgetBytes),
                  "from there on nothing gets faster, " + ms(steps.back().predictedNs)) +
         htmlFact(within ? ms(*within) : "no plan",
                  "within the budget of " + plan::formatBytes(report.budgetBytes)) +
         htmlFact(ms(report.sweep.lowerBoundNs), "lower bound, with memory for everything") +
         "</div>\n";
}

} // namespace

std::string frontierSvg(const SweepReport &report) { return FrontierPicture(report).draw(); }

std::string sweepHtml(const SweepReport &report) {
  const std::string name = titleOf(report);
  return htmlPage(
      name + ": time against memory",
      "<header>\n<h1>" + escapeHtml(name) + "</h1>\n<p>" +
          escapeHtml(modelText(report.model, report.precision, report.mode, /*devices=*/1)) +
          "</p>\n<p class=\"soft\">priced by " + escapeHtml(report.profile) +
          "; times are modelled by it, not measured</p>\n" + factsHtml(report) +
          "</header>\n<h2>Time against memory</h2>\n<p class=\"soft\">The line: the predicted time "
          "of policy auto within a memory; its dots are the rows below. Orange: the named "
          "policies. Dashed: the budget; dotted: what no plan can beat; pale: where none "
          "fits.</p>\n<div class=\"wide\">\n" +
          frontierSvg(report) + "</div>\n<p>Budget of " + escapeHtml(budgetText(report)) +
          "</p>\n<h2>Named policies</h2>\n" + htmlTable(policyRows(report), "lrrrrrrl") +
          "<h2>Points</h2>\n<p class=\"soft\">The plan of a point: <code>" +
          escapeHtml(report.command + " --memory=BYTES -o PLAN.json") + "</code></p>\n" +
          htmlTable(pointRows(report), "rrrrrl"));
}

} // namespace evo
