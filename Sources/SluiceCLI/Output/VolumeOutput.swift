import BlockStorage
import Sluice
import VolumeQoS

extension VolumeDetails {
    /// The document of `volume info`.
    var json: JSON { .object(members) }

    /// The document of `volume info` and how long the operation that made the volume took inside the library.
    func json(elapsed: Duration) -> JSON {
        .object(members + [JSON.Member(key: "elapsedMicroseconds", value: .unsigned(Times.microseconds(elapsed)))])
    }

    private var members: [JSON.Member] {
        [
            .init(key: "pool", value: .string(pool)), .init(key: "name", value: .string(name)),
            .init(key: "path", value: .string(path)), .init(key: "format", value: JSON(format?.rawValue)),
            .init(key: "virtualSize", value: .unsigned(virtualSize)),
            .init(key: "allocatedSize", value: .unsigned(allocatedSize)),
            .init(key: "provisioning", value: .string(provisioning.rawValue)),
            .init(key: "template", value: JSON(template)),
            .init(key: "snapshots", value: .array(snapshots.map(JSON.string))),
            .init(
                key: "qos",
                value: [
                    "minIOPS": JSON(qos?.minIOPS), "maxIOPS": JSON(qos?.maxIOPS), "burstIOPS": JSON(qos?.burstIOPS),
                    "enforcedBy": .string(enforcedBy.rawValue), "minimum": .string(minimum.rawValue),
                ]),
            .init(
                key: "attachment",
                value: attachment.map {
                    [
                        "mode": .string($0.mode.rawValue), "holder": .string($0.holder),
                        "since": .string(Times.rfc3339($0.since)),
                    ]
                } ?? .null),
        ] + (throttle.map { [.init(key: "throttle", value: $0.json)] } ?? [])
    }

    /// What `volume info` shows to people.
    var text: String {
        var lines = Lines()
        lines.add("volume", "\(pool)/\(name)")
        lines.add("path", path.isEmpty ? "made at first use" : path)
        lines.add("format", format?.rawValue ?? "unknown: see 'sluice volume adopt --help'")
        lines.add("size", "\(ByteCount(virtualSize).text), \(ByteCount(allocatedSize).text) allocated")
        lines.add("provisioning", provisioning.rawValue)
        lines.add("template", template ?? "none")
        lines.add("snapshots", snapshots.isEmpty ? "none" : snapshots.joined(separator: " "))
        lines.add("QoS", qosText)
        if let attachment {
            lines.add(
                "attached",
                "\(attachment.mode.rawValue) by \(attachment.holder) since \(Times.rfc3339(attachment.since))")
            if let cache = attachment.cache { lines.add("cache", cache.text) }
        } else {
            lines.add("attached", "no")
        }
        if let throttle { throttle.add(to: &lines) }
        for row in rows { lines.add(row.label, row.value) }
        return lines.text(width: Terminal.width)
    }

    private var qosText: String {
        guard let qos else { return "none" }
        let parts = [("minimum", qos.minIOPS), ("maximum", qos.maxIOPS), ("burst", qos.burstIOPS)]
        let values = parts.compactMap { name, value in value.map { "\(name) \($0)" } }.joined(separator: ", ")
        return "\(values) IOPS, enforced by \(enforcedBy.rawValue), minimum \(minimum.rawValue)"
    }
}

extension ThrottleStatistics {
    fileprivate var json: JSON {
        [
            "requests": .unsigned(requests), "normalisedOperations": .unsigned(normalisedOperations),
            "throttledRequests": .unsigned(throttledRequests), "waitingRequests": .unsigned(waiting),
            "waitMicroseconds": .unsigned(waitNanoseconds / 1000),
            "waitMicrosecondsPercentiles": [
                "50": .unsigned(waitMicroseconds(atFraction: 0.5)), "99": .unsigned(waitMicroseconds(atFraction: 0.99)),
                "99.9": .unsigned(waitMicroseconds(atFraction: 0.999)),
            ],
            "limitedMilliseconds": .unsigned(limitedNanoseconds / 1_000_000),
            "creditOperations": .signed(credit / CostCurve.unit), "creditSeconds": .signed(creditSeconds),
        ]
    }

    fileprivate func add(to lines: inout Lines) {
        lines.add("operations", "\(normalisedOperations) of 4 KiB, in \(requests) requests")
        let waits =
            throttledRequests == 0
            ? ""
            : ": half up to \(waitMicroseconds(atFraction: 0.5)) µs, 99 % up to \(waitMicroseconds(atFraction: 0.99)) µs"
        lines.add("throttled", "\(throttledRequests) requests\(waits), \(waiting) wait now")
        lines.add("at its limit", "for \(limitedNanoseconds / 1_000_000) ms")
        lines.add("burst credit", "\(credit / CostCurve.unit) operations, \(creditSeconds) s")
    }
}

extension VolumeSummary {
    var json: JSON {
        [
            "name": .string(name), "format": JSON(format?.rawValue), "virtualSize": .unsigned(virtualSize),
            "allocatedSize": .unsigned(allocatedSize), "managed": .bool(isManaged), "template": JSON(template),
        ]
    }
}

extension [VolumeSummary] {
    /// The rows of `volume list` and `template list`.
    func table(_ none: String) -> String {
        if isEmpty { return none }
        var table = TextTable(.text("NAME"), .text("FORMAT"), .number("SIZE"), .number("ALLOCATED"), .text("TEMPLATE"))
        for volume in self {
            table.add(
                volume.name, volume.isManaged ? volume.format?.rawValue ?? "-" : "unmanaged",
                ByteCount(volume.virtualSize).text, ByteCount(volume.allocatedSize).text, volume.template ?? "-")
        }
        return table.text(width: Terminal.width)
    }
}
