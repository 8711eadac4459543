/// A policy in the words of something else that can enforce it, and what those words do not say.
public struct PolicyTranslation: Equatable, Sendable {
    public enum Target: String, Sendable, CaseIterable {
        /// The children of libvirt's `<iotune>`.
        case libvirt
        /// The limits of QEMU's `throttle-group`.
        case qemu
        /// librbd's configuration, of a client or, with the prefix `conf_`, in an image's metadata.
        case librbd
    }

    public struct Setting: Equatable, Sendable {
        public var name: String
        public var value: UInt64
    }

    /// In the order in which they are written; none where the policy holds nothing that the target could enforce.
    public var settings: [Setting] = []
    /// What the target leaves out or does otherwise, a sentence each.
    public var differences: [String] = []

    /// How long a burst lasts that has been saved up, in seconds.
    public static let burstSeconds: UInt64 = 60
    /// A request of more bytes counts as several, where the target counts so.
    public static let operationByteCount: UInt64 = 4096
    /// What QEMU and libvirt take at most.
    private static let largest: UInt64 = 1_000_000_000_000_000

    /// All three have a bucket that drains at the maximum and holds `burst` times a number of whole seconds. A volume that
    /// saves what it does not use has (burst − maximum) × 60 operations, so the seconds are 60 × (burst − maximum) / burst,
    /// rounded down: a little less than was meant and never more.
    public init(_ policy: QoSPolicy, for target: Target) {
        let names = Names(target)
        if policy.minIOPS != nil {
            differences.append("The minimum is left out: \(names.who) knows none.")
        }
        let maximum = policy.maxIOPS ?? policy.burstIOPS
        if let maximum, maximum > Self.largest {
            differences.append("The maximum is left out: \(names.who) takes none above \(Self.largest).")
        } else if let maximum {
            settings.append(Setting(name: names.maximum, value: maximum))
            if let burst = policy.burstIOPS, burst > maximum { add(burst: burst, above: maximum, names) }
            if let size = names.size {
                settings.append(Setting(name: size, value: Self.operationByteCount))
                differences.append(
                    "A request larger than 4 KiB counts in proportion to its size: one of 256 KiB as 64 operations, and "
                        + "not as 39.")
            } else {
                differences.append("A request counts as one operation whatever its size.")
            }
        }
        if let bytes = policy.maxBytesPerSecond, bytes <= Self.largest {
            settings.append(Setting(name: names.bytes, value: bytes))
        }
        if target == .librbd, !settings.isEmpty {
            differences.append("Requests that wait go in steps of 50 ms.")
        }
    }

    /// The names of every setting that a policy may become.
    public static func settingNames(for target: Target) -> [String] {
        let names = Names(target)
        return [names.maximum, names.burst, names.length, names.bytes] + (names.size.map { [$0] } ?? [])
    }

    private mutating func add(burst: UInt64, above maximum: UInt64, _ names: Names) {
        guard burst <= Self.largest else {
            differences.append("The burst is left out: \(names.who) takes none above \(Self.largest).")
            return
        }
        let saved = Int128(burst - maximum) * Int128(Self.burstSeconds)
        let seconds = UInt64(clamping: saved / Int128(burst))
        guard seconds > 0 else {
            differences.append(
                "The burst is left out: the shortest that \(names.who) knows would hold \(burst) operations, and "
                    + "\(saved) are meant.")
            return
        }
        settings.append(Setting(name: names.burst, value: burst))
        settings.append(Setting(name: names.length, value: seconds))
        let lost = saved - Int128(burst) * Int128(seconds)
        if lost > 0 {
            differences.append(
                "Burst is saved up to \(saved - lost) operations, and not \(saved): lengths are whole seconds.")
        }
        if seconds == 1, names.who != "librbd" {
            differences.append("What is saved may go at once: a burst of one second has no peak rate.")
        }
        differences.append("It begins with all of its burst saved.")
    }

    private struct Names {
        var who: String
        var maximum: String
        var burst: String
        var length: String
        var bytes: String
        var size: String?

        init(_ target: Target) {
            switch target {
            case .libvirt:
                (who, maximum, burst) = ("libvirt", "total_iops_sec", "total_iops_sec_max")
                (length, bytes, size) = ("total_iops_sec_max_length", "total_bytes_sec", "size_iops_sec")
            case .qemu:
                (who, maximum, burst) = ("QEMU", "iops-total", "iops-total-max")
                (length, bytes, size) = ("iops-total-max-length", "bps-total", "iops-size")
            case .librbd:
                (who, maximum, burst) = ("librbd", "rbd_qos_iops_limit", "rbd_qos_iops_burst")
                (length, bytes, size) = ("rbd_qos_iops_burst_seconds", "rbd_qos_bps_limit", nil)
            }
        }
    }
}
