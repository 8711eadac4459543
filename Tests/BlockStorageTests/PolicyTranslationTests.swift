import BlockStorage
import Testing

@Suite("Policies in the words of others")
struct PolicyTranslationTests {
    private func settings(_ policy: QoSPolicy, _ target: PolicyTranslation.Target) -> [String] {
        PolicyTranslation(policy, for: target).settings.map { "\($0.name)=\($0.value)" }
    }

    @Test("A burst is as long as its bucket holds what a volume saves in a minute")
    func bursts() throws {
        let policy = try QoSPolicy(minIOPS: 100, maxIOPS: 5000, burstIOPS: 10_000, maxBytesPerSecond: 1 << 20)
        #expect(
            settings(policy, .qemu) == [
                "iops-total=5000", "iops-total-max=10000", "iops-total-max-length=30", "iops-size=4096",
                "bps-total=1048576",
            ])
        #expect(
            settings(policy, .libvirt) == [
                "total_iops_sec=5000", "total_iops_sec_max=10000", "total_iops_sec_max_length=30",
                "size_iops_sec=4096", "total_bytes_sec=1048576",
            ])
        #expect(
            settings(policy, .librbd) == [
                "rbd_qos_iops_limit=5000", "rbd_qos_iops_burst=10000", "rbd_qos_iops_burst_seconds=30",
                "rbd_qos_bps_limit=1048576",
            ])
        for target in PolicyTranslation.Target.allCases {
            let names = PolicyTranslation(policy, for: target).settings.map(\.name)
            #expect(Set(PolicyTranslation.settingNames(for: target)) == Set(names))
            #expect(PolicyTranslation(policy, for: target).differences.first?.contains("knows none") == true)
        }
    }

    @Test("What cannot be said exactly is less than was meant, and said to be")
    func rounding() throws {
        for (maximum, burst) in [(100, 101), (100, 102), (500, 1500), (1000, 1300), (7, 100_000)] as [(UInt64, UInt64)]
        {
            let policy = try QoSPolicy(maxIOPS: maximum, burstIOPS: burst)
            let translation = PolicyTranslation(policy, for: .qemu)
            let length = translation.settings.first { $0.name == "iops-total-max-length" }?.value ?? 0
            let (meant, held) = ((burst - maximum) * 60, burst * length)
            #expect(held <= meant && meant - held < burst)
            let isSaid = translation.differences.contains {
                $0.contains("whole seconds") || $0.contains("burst is left out")
            }
            #expect(isSaid == (held != meant))
        }
        let short = PolicyTranslation(try QoSPolicy(maxIOPS: 100, burstIOPS: 102), for: .qemu)
        #expect(short.differences.contains { $0.contains("no peak rate") })
    }

    @Test("Numbers that QEMU and libvirt refuse are left out, and that is said")
    func extremes() throws {
        let policy = try QoSPolicy(maxIOPS: .max, maxBytesPerSecond: .max)
        let translation = PolicyTranslation(policy, for: .qemu)
        #expect(translation.settings.isEmpty && translation.differences.count >= 1)
        let burst = PolicyTranslation(try QoSPolicy(maxIOPS: 100, burstIOPS: .max), for: .libvirt)
        #expect(burst.settings.map(\.name) == ["total_iops_sec", "size_iops_sec"])
    }

    @Test("What promises only is nothing to enforce, and that is said")
    func minimum() throws {
        for target in PolicyTranslation.Target.allCases {
            let translation = PolicyTranslation(try QoSPolicy(minIOPS: 100), for: target)
            #expect(translation.settings.isEmpty && translation.differences.count == 1)
            #expect(PolicyTranslation(.unlimited, for: target) == PolicyTranslation(.unlimited, for: .qemu))
        }
    }
}
