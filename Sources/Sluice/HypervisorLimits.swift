import BlockStorage

/// The part of a policy that a hypervisor can enforce.
struct HypervisorLimits: Equatable, Sendable {
    private let policy: QoSPolicy

    /// Nil for a policy of which a hypervisor could enforce nothing.
    init?(_ policy: QoSPolicy) {
        self.policy = policy
        if translation(for: .qemu).settings.isEmpty { return nil }
    }

    private func translation(for target: PolicyTranslation.Target) -> PolicyTranslation {
        PolicyTranslation(policy, for: target)
    }

    /// What a hypervisor does otherwise than the policy says, a sentence each.
    var differences: [String] { translation(for: .qemu).differences }

    /// QEMU's `throttle-group` with the name `id`, as JSON: the only form that takes limits by their stable names.
    func qemuObject(_ id: String) -> String {
        let members = translation(for: .qemu).settings.map { "\"\($0.name)\":\($0.value)" }.joined(separator: ",")
        return "{\"qom-type\":\"throttle-group\",\"id\":\"\(id)\",\"limits\":{\(members)}}"
    }

    /// libvirt's `<iotune>` element, indented as a child of `<disk>`.
    var libvirtLines: [String] {
        ["  <iotune>"] + translation(for: .libvirt).settings.map { "    <\($0.name)>\($0.value)</\($0.name)>" }
            + ["  </iotune>"]
    }
}
