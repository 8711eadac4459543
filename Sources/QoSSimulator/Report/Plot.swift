/// A plot as SVG that stands in a page: lines over time, or over percentiles.
struct Plot {
    struct Series {
        var name: String
        /// Place in the palette.
        var color: Int
        /// From left to right; nil where nothing was measured.
        var points: [(x: Double, y: Double?)]
        /// Between the worst and the best, around the line.
        var band: [(low: Double, high: Double)] = []
        /// A limit: dashed.
        var isLimit = false
    }

    var id: String
    var title: String
    var unit: String
    var series: [Series]
    /// The right end of the axis.
    var end: Double
    /// Names at places of the axis instead of seconds.
    var names: [String] = []
    var isLogarithmic = false

    private static let (width, height) = (640.0, 260.0)
    private static let (left, right, top, bottom) = (64.0, 628.0, 12.0, 226.0)

    /// The scale that holds everything: its ends, and where it has lines.
    private var scale: (low: Double, high: Double, ticks: [Double]) {
        let values = series.flatMap { series in
            series.points.compactMap(\.y) + (series.isLimit ? [] : series.band.map(\.high))
        }
        let highest = max(values.max() ?? 0, 0)
        if isLogarithmic {
            let positive = values.filter { $0 > 0 }
            var low = 1.0
            while let least = positive.min(), low > least { low /= 10 }
            while let least = positive.min(), low * 10 <= least { low *= 10 }
            var ticks = [low]
            var tick = low
            while tick < highest {
                tick *= 10
                ticks.append(tick)
            }
            if ticks.count == 1 { ticks.append(low * 10) }
            return (low, ticks[ticks.count - 1], ticks)
        }
        let step = highest > 0 ? Self.step(highest / 4) : 1
        var ticks = [0.0]
        while ticks[ticks.count - 1] < highest, ticks.count < 12 { ticks.append(Double(ticks.count) * step) }
        if ticks.count == 1 { ticks.append(step) }
        return (0, ticks[ticks.count - 1], ticks)
    }

    /// The next of 1, 2, 2.5, 5, 10 times a power of ten.
    private static func step(_ least: Double) -> Double {
        var power = 1.0
        while power > least { power /= 10 }
        while power * 10 <= least { power *= 10 }
        return [1, 2, 2.5, 5, 10].first { power * $0 >= least }.map { power * $0 } ?? power * 10
    }

    private func x(_ value: Double) -> Double { Self.left + (Self.right - Self.left) * value / max(end, 1e-9) }

    private func y(_ value: Double, _ scale: (low: Double, high: Double, ticks: [Double])) -> Double {
        var part = (value - scale.low) / (scale.high - scale.low)
        if isLogarithmic {
            part = naturalLogarithm(max(value, scale.low) / scale.low) / naturalLogarithm(scale.high / scale.low)
        }
        return Self.bottom - (Self.bottom - Self.top) * min(max(part, 0), 1)
    }

    /// The figure with its legend.
    var html: String {
        let scale = scale
        var svg = "<figure class=\"plot\" id=\"\(escaped(id))\"><figcaption>\(escaped(title))"
        svg += unit.isEmpty ? "" : " <small>\(escaped(unit))</small>"
        svg += "</figcaption><svg viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\""
        svg +=
            " aria-label=\"\(escaped(title))\" data-left=\"\(number(Self.left))\" data-right=\"\(number(Self.right))\""
        svg += " data-top=\"\(number(Self.top))\" data-bottom=\"\(number(Self.bottom))\" data-end=\"\(number(end))\""
        svg += " data-low=\"\(number(scale.low))\" data-high=\"\(number(scale.high))\">"
        for tick in scale.ticks {
            let place = number(y(tick, scale))
            svg +=
                "<line class=\"grid\" x1=\"\(number(Self.left))\" x2=\"\(number(Self.right))\" y1=\"\(place)\" y2=\"\(place)\"/>"
            svg += "<text class=\"tick\" x=\"\(number(Self.left - 6))\" y=\"\(place)\" dy=\"4\" text-anchor=\"end\">"
            svg += "\(Self.label(tick))</text>"
        }
        svg += horizontalAxis
        for series in series { svg += path(series, scale) }
        svg += "</svg><div class=\"legend\">"
        for series in series where !series.isLimit || !series.name.isEmpty {
            let style = series.isLimit ? "dash" : "line"
            svg += "<span><i class=\"\(style) c\(series.color)\"></i>\(escaped(series.name))</span>"
        }
        return svg + "</div></figure>\n"
    }

    private var horizontalAxis: String {
        var svg = ""
        let places: [(Double, String)]
        if names.isEmpty {
            let step = Self.step(max(end, 1e-9) / 6)
            places = (0...12).map { Double($0) * step }.filter { $0 <= end * 1.0001 }.map { ($0, Self.time($0)) }
        } else {
            places = names.enumerated().map { (Double($0), $1) }
        }
        for (value, label) in places {
            // At the edge there is no room to the right.
            let anchor = x(value) > Self.right - 20 ? "end" : "middle"
            svg += "<text class=\"tick\" x=\"\(number(x(value)))\" y=\"\(number(Self.bottom + 18))\""
            svg += " text-anchor=\"\(anchor)\">"
            svg += "\(escaped(label))</text>"
        }
        return svg
    }

    private func path(_ series: Series, _ scale: (low: Double, high: Double, ticks: [Double])) -> String {
        var svg = ""
        if !series.band.isEmpty, series.band.count == series.points.count {
            let upper = zip(series.points, series.band).map { "\(number(x($0.x))),\(number(y($1.high, scale)))" }
            let lower = zip(series.points, series.band).map { "\(number(x($0.x))),\(number(y($1.low, scale)))" }
            svg +=
                "<polygon class=\"band c\(series.color)\" points=\"\((upper + lower.reversed()).joined(separator: " "))\"/>"
        }
        var data = ""
        var isDrawing = false
        for point in series.points {
            guard let value = point.y else {
                isDrawing = false
                continue
            }
            data += "\(isDrawing ? "L" : "M")\(number(x(point.x))) \(number(y(value, scale)))"
            isDrawing = true
        }
        let kind = series.isLimit ? "limit" : "series"
        return svg + "<path class=\"\(kind) c\(series.color)\" data-name=\"\(escaped(series.name))\" d=\"\(data)\">"
            + "<title>\(escaped(series.name))</title></path>"
    }

    private func number(_ value: Double) -> String {
        let text = decimal(value, 2)
        return text.hasSuffix(".00") ? String(text.dropLast(3)) : text
    }

    /// `20k`, `1.5M`, `0.1`.
    private static func label(_ value: Double) -> String {
        func short(_ value: Double) -> String {
            var text = decimal(value, value < 1 ? 4 : 2)
            while text.contains("."), text.last == "0" || text.last == "." {
                let isPoint = text.last == "."
                text.removeLast()
                if isPoint { break }
            }
            return text
        }
        if value >= 1e6 { return short(value / 1e6) + "M" }
        return value >= 1e4 ? short(value / 1e3) + "k" : short(value)
    }

    private static func time(_ seconds: Double) -> String {
        if seconds == 0 { return "0" }
        let (divisor, unit) = seconds >= 86_400 * 2 ? (86_400.0, "d") : seconds >= 7200 ? (3600, "h") : (1, "s")
        return label(seconds / divisor) + " \(unit)"
    }
}

/// Text that stands in HTML as it is.
func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        case "'": result += "&#39;"
        case _ where scalar.value < 0x20 || scalar.value == 0x7f: result += " "
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}
