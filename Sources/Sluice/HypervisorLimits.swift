import BlockStorage

/// The part of a policy that a hypervisor can enforce: a maximum, and a burst above it.
struct HypervisorLimits: Equatable, Sendable {
    var maximum: UInt64
    var burst: UInt64?

    /// Seconds of burst that a volume earns by staying below its maximum.
    static let burstSeconds = 60
    /// A request of more bytes counts as several.
    static let operationByteCount = 4096

    /// Nil for a policy without a maximum: a minimum is nothing that a hypervisor could give.
    init?(_ policy: QoSPolicy) {
        guard let maximum = policy.maxIOPS else { return nil }
        self.maximum = maximum
        burst = policy.burstIOPS.flatMap { $0 > maximum ? $0 : nil }
    }

    /// QEMU's `throttle-group` with the name `id`, as JSON: the only form that takes limits by their stable names.
    func qemuObject(_ id: String) -> String {
        var limits = [("iops-total", maximum)]
        if let burst {
            limits += [("iops-total-max", burst), ("iops-total-max-length", UInt64(Self.burstSeconds))]
        }
        limits.append(("iops-size", UInt64(Self.operationByteCount)))
        let members = limits.map { "\"\($0)\":\($1)" }.joined(separator: ",")
        return "{\"qom-type\":\"throttle-group\",\"id\":\"\(id)\",\"limits\":{\(members)}}"
    }

    /// libvirt's `<iotune>` element, indented as a child of `<disk>`.
    var libvirtLines: [String] {
        var values = [("total_iops_sec", "\(maximum)")]
        if let burst {
            values += [("total_iops_sec_max", "\(burst)"), ("total_iops_sec_max_length", "\(Self.burstSeconds)")]
        }
        values.append(("size_iops_sec", "\(Self.operationByteCount)"))
        return ["  <iotune>"] + values.map { "    <\($0)>\($1)</\($0)>" } + ["  </iotune>"]
    }
}
