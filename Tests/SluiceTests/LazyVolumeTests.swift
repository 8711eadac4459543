import BlockStorage
import Foundation
import Testing

@testable import Sluice

@Suite struct LazyVolumeTests {
    private static func lazy(_ size: UInt64) -> VolumeRequirements { VolumeRequirements(size: size, isLazy: true) }

    @Test("One that the pool refuses leaves nothing, and its name stays usable")
    func refused() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        for size in [100, UInt64(Int64.max)] {
            await #expect(throws: StorageError.self) { try await host.createVolume(site.a("new"), Self.lazy(size)) }
            #expect(try await host.intents.all().isEmpty)
        }
        try await host.createVolume(site.a("new"), Self.lazy(1 << 20))
    }

    @Test("It is no template, and deleting it as one changes nothing")
    func template() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        await expect(.invalidArgument) { try await host.deleteTemplate(site.a("lazy")) }
        #expect(try await host.catalog.volume("lazy", in: "a")?.lazySize != nil)
    }

    @Test("Deleting one gives its room back, also when something else has taken its name")
    func room() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        let before = try await host.poolDetails("a").provisionedBytes
        try await host.createVolume(site.a("new"), Self.lazy(1 << 20))
        let foreign = URL(filePath: site.poolPath("a") + "/new")
        try Data([1]).write(to: foreign)
        try await host.deleteVolume(site.a("new"))
        #expect(try await host.poolDetails("a").provisionedBytes == before)
        #expect(try Data(contentsOf: foreign) == Data([1]))
    }

    @Test("A pool is not removed while only this host's catalog knows of a volume in it")
    func removal() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        let error = await expect(.busy) { try await host.removePool("a") }
        #expect(error?.why.contains("a/lazy") == true)
        try await host.deleteVolume(site.a("lazy"))
        try await host.removePool("a")
    }

    @Test("A pool whose storage is gone is still described, with the reason")
    func unreachable() async throws {
        let sweep = try await PreparedSite()
        let site = sweep.site
        try FileManager.default.moveItem(atPath: site.poolPath("b"), toPath: site.poolPath("b") + "-away")
        let details = try await site.host().poolDetails("b")
        guard case .unresponsive(let reason) = details.health else {
            Issue.record("it is said to be healthy")
            return
        }
        #expect(reason.contains("No such file"))
        await expect(.notFound) { _ = try await site.host().poolDetails("none") }
    }
}
