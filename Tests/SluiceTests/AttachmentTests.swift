import BlockStorage
import Foundation
import IORuntime
import Testing
import VolumeQoS

@testable import Sluice

@Suite struct AttachmentTests {
    private let bytes: [UInt8] = [1, 2, 3]

    @Test("An attached volume is read and written, and others know who holds it until it is detached")
    func lifeCycle() async throws {
        let site = try TestSite()
        let (holder, other) = (try await site.host(), try await site.host())
        try await holder.createVolume(fast("v"), .init(raw: 1 << 20))
        let attachment = try await holder.attach(fast("v"))
        #expect(attachment.mode == .exclusive && attachment.enforcer == .sluice)
        #expect(attachment.stack == "throttled(attachment(memory))")
        try await attachment.volume.write(bytes.rawBytes, at: 10)

        let seen = try #require(try await other.runningAttachments().first)
        #expect(seen.address == fast("v") && seen.mode == .exclusive && seen.stack == attachment.stack)
        #expect(!seen.isExport && seen.processID == getpid() && seen.holder.hasSuffix(", pid \(getpid())"))
        #expect(try await other.runningExports().isEmpty)
        let details = try await other.volumeDetails(fast("v"))
        #expect(details.attachment == seen.details)
        await expect(.busy) { try await other.attach(fast("v")) }
        await expect(.busy) { try await holder.attach(fast("v"), AttachOptions(mode: .readOnly)) }
        await expect(.busy) { try await other.deleteVolume(fast("v")) }
        await expect(.busy) { try await other.hypervisorDisk(fast("v")) }
        // What others want of it is done by the process that has it.
        #expect(try await other.createSnapshot("s", of: fast("v")).name == "s")
        try await other.resizeVolume(fast("v"), to: 2 << 20)
        #expect(attachment.volume.geometry.size == 2 << 20)

        try await attachment.detach()
        try await attachment.detach()
        try await holder.detach(fast("v"))
        await expect(.notAttached) { try await attachment.volume.flush() }
        #expect(try await other.volumeDetails(fast("v")).attachment == nil)
        #expect(try FileManager.default.contentsOfDirectory(atPath: site.home + "/run").isEmpty)
        try await other.deleteVolume(fast("v"))
    }

    @Test("Where there is a metrics backend, an attached volume is measured until it is detached")
    func metrics() async throws {
        let site = try TestSite()
        let metrics = PrometheusMetrics()
        let host = try await site.host(metrics: metrics)
        try await host.createVolume(fast("v"), .init(raw: 1 << 20))
        let attachment = try await host.attach(fast("v"))
        #expect(attachment.stack == "metered(throttled(attachment(memory)))")
        try await attachment.volume.write(bytes.rawBytes, at: 0)
        host.publishMetrics()
        #expect(metrics.text().contains("\nsluice_volume_bytes_total{volume=\"fast/v\",operation=\"write\"} 3\n"))
        try await attachment.detach()
        #expect(metrics.text() == "")
    }

    @Test("Readers share a volume, and one host's detach ends all of its own")
    func readers() async throws {
        let site = try TestSite()
        let (first, second) = (try await site.host(), try await site.host())
        try await first.createVolume(fast("v"), .init(raw: 1 << 20))
        let kept = try await second.attach(fast("v"), AttachOptions(mode: .readOnly))
        for _ in 0..<2 { _ = try await first.attach(fast("v"), AttachOptions(mode: .readOnly)) }
        #expect(try await first.runningAttachments().map(\.mode) == [.readOnly, .readOnly, .readOnly])
        await expect(.readOnly) { try await kept.volume.write(bytes.rawBytes, at: 0) }
        await expect(.busy) { try await first.attach(fast("v")) }
        try await first.detach(fast("v"))
        #expect(try await first.runningAttachments().count == 1)
        try await kept.detach()
        try await first.attach(fast("v")).detach()
    }

    @Test("What cannot be attached leaves nothing")
    func failures() async throws {
        let site = try TestSite()
        let host = try await site.host()
        try await host.createVolume(fast("v"), .init(raw: 1 << 20))
        await expect(.notFound) { try await host.attach(fast("none")) }
        await expect(.notSupported) { try await host.attach(fast("v"), AttachOptions(enforcer: .librbd)) }
        await expect(.notSupported) { try await host.attach(fast("v"), AttachOptions(enforcer: .array)) }
        #expect(try await host.runningAttachments().isEmpty)
        try await host.detach(fast("none"))
        try await host.deleteVolume(fast("v"))
    }

    @Test("An attachment says who enforces the volume's policy while it lasts")
    func enforcer() async throws {
        let site = try TestSite()
        let host = try await site.host()
        try await host.createVolume(fast("v"), .init(raw: 1 << 20))
        try await host.setQoS(try QoSPolicy(maxIOPS: 500, burstIOPS: 1000), of: fast("v"))
        #expect(try await host.volumeDetails(fast("v")).enforcedBy == .none)
        let attachment = try await host.attach(fast("v"), AttachOptions(enforcer: .hypervisor))
        #expect(try await host.volumeDetails(fast("v")).enforcedBy == .hypervisor)
        try await attachment.detach()
        #expect(try await host.volumeDetails(fast("v")).enforcedBy == .none)
    }

    @Test("Sluice holds an attached volume to its policy, and another process changes that while requests wait")
    func throttle() async throws {
        let site = try TestSite()
        let (holder, other) = (try await site.host(), try await site.host())
        try await holder.createVolume(fast("v"), .init(raw: 4 << 20))
        try await holder.setQoS(try QoSPolicy(maxIOPS: 1), of: fast("v"))
        let attachment = try await holder.attach(fast("v"))
        let mebibyte = [UInt8](repeating: 1, count: 1 << 20)
        try await attachment.volume.write(mebibyte.rawBytes, at: 0)
        // It would wait for minutes.
        async let second: Void = attachment.volume.write(mebibyte.rawBytes, at: 1 << 20)
        var throttle: ThrottleStatistics?
        while throttle?.waiting != 1 { throttle = try await other.volumeDetails(fast("v")).throttle }
        #expect(try await other.volumeDetails(fast("v")).enforcedBy == .sluice)
        try await other.setQoS(nil, of: fast("v"))
        try await second
        throttle = try await other.volumeDetails(fast("v")).throttle
        #expect(throttle?.requests == 2 && throttle?.normalisedOperations == 300 && throttle?.throttledRequests == 1)
        try await attachment.detach()
        #expect(try await other.volumeDetails(fast("v")).throttle == nil)
    }

    @Test("Burst that is saved is there again at the next attachment, and goes with the volume")
    func credit() async throws {
        let site = try TestSite()
        let host = try await site.host()
        try await host.createVolume(fast("v"), .init(raw: 1 << 20))
        try await host.setQoS(try QoSPolicy(maxIOPS: 1000, burstIOPS: 2000), of: fast("v"))
        try await host.catalog.saveBurstCredit(5_000_000, of: fast("v"))
        try await host.attach(fast("v")).detach()
        let attachment = try await host.attach(fast("v"))
        let credit = try #require(try await host.volumeDetails(fast("v")).throttle).credit
        #expect((5_000_000...6_000_000).contains(credit))
        try await attachment.detach()
        #expect(try await host.catalog.burstCredit(of: fast("v")) >= credit)
        let reader = try await host.attach(fast("v"), AttachOptions(mode: .readOnly))
        #expect(reader.throttle?.volume.statistics.credit ?? .max < credit)
        try await reader.detach()
        #expect(try await host.catalog.burstCredit(of: fast("v")) >= credit)
        try await host.deleteVolume(fast("v"))
        #expect(try await host.catalog.burstCredit(of: fast("v")) == 0)
    }

    @Test("A lazy volume is made when it is attached")
    func lazy() async throws {
        let site = try TestSite()
        let host = try await site.host()
        var lazy = VolumeRequirements(raw: 1 << 20)
        lazy.isLazy = true
        try await host.createVolume(fast("v"), lazy)
        #expect(site.storage.names.isEmpty)
        let attachment = try await host.attach(fast("v"))
        #expect(attachment.volume.geometry.size == 1 << 20)
        #expect(site.storage.names == ["v"])
        try await attachment.detach()
    }
}
