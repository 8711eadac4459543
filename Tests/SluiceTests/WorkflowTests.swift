import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import Sluice

@Suite struct OperationLockTests {
    @Test("Operations on one volume exclude each other in all processes, and say what is in the way")
    func exclusion() async throws {
        let sweep = try await PreparedSite()
        let (site, first) = (sweep.site, sweep.host)
        // As another process: locks belong to open files, and each host opens its own.
        let second = try await site.host(wait: .milliseconds(50))
        let volume = site.a("plain")
        try await first.withVolumes("hold", exclusive: [volume]) { () async throws(StorageError) in
            try await first.run(.rename(volume, to: "other")) { token throws(StorageError) in
                let error = await expect(.busy) { try await second.deleteVolume(volume) }
                #expect(error?.why == "the renaming of a/plain to other by process \(getpid()) is under way")
                let reader = await expect(.busy) { _ = try await second.openVolume(volume, mode: .readOnly) }
                #expect(reader?.place == "a/plain")
                // Another volume is no concern of it.
                await #expect(throws: Never.self) { try await second.deleteVolume(site.a("disk")) }
                try await first.intents.end(token)
            }
        }
        try await second.deleteVolume(volume)
    }

    @Test("What only uses a volume runs side by side, and keeps out what changes it")
    func sharing() async throws {
        let sweep = try await PreparedSite()
        let (site, first) = (sweep.site, sweep.host)
        let second = try await site.host(wait: .milliseconds(50))
        try await first.withVolumes("use", shared: [site.a("base")]) { () async throws(StorageError) in
            await #expect(throws: Never.self) {
                _ = try await second.cloneVolume(site.a("base"), to: site.a("another")).value
            }
            await expect(.busy) { try await second.deleteTemplate(site.a("base")) }
        }
    }

    @Test("Operations that need two volumes in either order never wait for each other for ever")
    func order() async throws {
        let sweep = try await PreparedSite()
        let (site, counter) = (sweep.site, Locked(0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<40 {
                let volumes = index % 2 == 0 ? [site.a("x"), site.b("y")] : [site.b("y"), site.a("x")]
                group.addTask {
                    let host = try await site.host(wait: .seconds(60))
                    try await host.withVolumes("take both", exclusive: volumes) { () async throws(StorageError) in
                        let alone = counter.withLock { counter in
                            counter += 1
                            return counter == 1
                        }
                        #expect(alone)
                        await Task.yield()
                        counter.withLock { $0 -= 1 }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("Whoever waits for a volume can be cancelled")
    func cancellation() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        try await host.withVolumes("hold", exclusive: [site.a("plain")]) { () async throws(StorageError) in
            let waiting = Task { try await host.deleteVolume(site.a("plain")) }
            waiting.cancel()
            await expect(.cancelled) { try await waiting.value }
        }
        #expect(try await host.exists(site.a("plain")))
    }

    @Test("A lazy volume that many attach at once is made once")
    func lazy() async throws {
        let sweep = try await PreparedSite()
        let (site, created) = (sweep.site, Locked(0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let host = try await site.host { call throws(StorageError) in
                        if call.hasPrefix("createVolume") { created.withLock { $0 += 1 } }
                    }
                    let attachment = try await host.attach(site.a("lazy"), AttachOptions(mode: .readOnly))
                    #expect(attachment.volume.geometry.size == WorkflowSite.size)
                    try await attachment.detach()
                }
            }
            try await group.waitForAll()
        }
        // Before and after the call.
        #expect(created.withLock { $0 } == 2)
        #expect(try await sweep.host.catalog.volume("lazy", in: "a")?.lazySize == nil)
    }
}

@Suite struct RecoveryTests {
    @Test("Undoing never removes what somebody else has put under the name")
    func foreignVolume() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        let record = VolumeRecord(pool: "a", name: "new", provisioning: .thin)
        for temporaryName in [Workflow.temporaryName(), nil] {
            _ = try await host.intents.begin(.make(record, builtAs: temporaryName))
            // Another host makes a volume of that name, and a guest writes to it.
            let pool = try await host.pool("a")
            _ = try await pool.createVolume("new", CreateRequest(size: WorkflowSite.size))
            let next = try await site.host()
            #expect(try await next.intents.all().isEmpty)
            #expect(try await next.exists(site.a("new")))
            try await next.deleteVolume(site.a("new"))
        }
    }

    @Test("A lazy volume is not made of what somebody else has put under its name, and goes without that")
    func foreignLazyVolume() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        let pool = try await host.pool("a")
        // Its reservation is lost, and something else takes the name.
        try await pool.deleteVolume("lazy", policy: .refuse)
        _ = try await pool.createVolume("lazy", CreateRequest(size: WorkflowSite.size))
        await expect(.alreadyExists) { _ = try await host.openVolume(site.a("lazy"), mode: .exclusive) }
        try await host.deleteVolume(site.a("lazy"))
        #expect(try await host.exists(site.a("lazy")))
        #expect(try await host.catalog.volume("lazy", in: "a") == nil)
    }

    @Test("A volume that comes into use before its migration is finished stays where it was")
    func migrationGoesBack() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        // The process dies when the record is switched, and before the source is deleted.
        let (clone, link) = (site.a("clone"), site.a("link"))
        let record = try #require(try await host.catalog.volume("clone", in: "a"))
        let moved = VolumeRecord(pool: "b", name: "clone", provisioning: record.provisioning)
        let migration = Workflow.Migration(
            source: clone, target: site.b("clone"), builtAs: Workflow.temporaryName(), record: moved, stage: .switched)
        _ = try await (try await host.pool("b")).createVolume("clone", CreateRequest(size: WorkflowSite.size))
        let token = try await host.intents.begin(.migrate(migration))
        try await host.intents.advance(token, to: .migrate(migration)) { database in
            try Catalog.forget(clone, database)
            try Catalog.save(moved, database)
        }
        // Another tool makes a clone of the source.
        _ = try await (try await host.pool("a")).cloneVolume(VolumeReference("clone"), as: "link", CloneRequest())
        let next = try await site.host()
        #expect(try await next.intents.all().isEmpty)
        for volume in [clone, link] { #expect(try await next.exists(volume)) }
        #expect(try await !next.exists(site.b("clone")))
        #expect(try await next.catalog.volume("clone", in: "a") != nil)
        #expect(try await next.catalog.volume("clone", in: "b") == nil)
    }

    @Test("A migration that was switched and whose copy is gone keeps the source")
    func lastCopy() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        let source = site.a("plain")
        for stage in [Workflow.Migration.Stage.copying, .copied, .switched, .returning] {
            var record = VolumeRecord(pool: "b", name: "plain", provisioning: .thin)
            record.template = "a/base"
            let migration = Workflow.Migration(
                source: source, target: site.b("plain"), builtAs: Workflow.temporaryName(), record: record,
                stage: stage)
            _ = try await host.intents.begin(.migrate(migration))
            let next = try await site.host()
            #expect(try await next.intents.all().isEmpty, "\(stage)")
            #expect(try await next.exists(source), "\(stage)")
        }
    }

    @Test("What cannot be undone yet is undone as soon as its pool answers")
    func unreachablePool() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        let name = Workflow.temporaryName()
        let record = VolumeRecord(pool: "b", name: "new", provisioning: .thin)
        _ = try await host.intents.begin(.make(record, builtAs: name))
        _ = try await (try await host.pool("b")).createVolume(name, CreateRequest(size: WorkflowSite.size))
        let isDown = Locked(true)
        let next = try await site.host { call throws(StorageError) in
            if isDown.withLock({ $0 }), call != "catalog" { throw StorageError(.connectionLost, "call pool") }
        }
        #expect(try await next.intents.all().count == 1)
        // Nothing else happens to the volume before that.
        await expect(.connectionLost) {
            try await next.createVolume(site.b("new"), VolumeRequirements(size: WorkflowSite.size))
        }
        isDown.withLock { $0 = false }
        try await next.createVolume(site.b("new"), VolumeRequirements(size: WorkflowSite.size))
        #expect(try await next.intents.all().isEmpty)
        #expect(try await !next.exists(site.b(name)))
    }

    @Test("A pool that never answers keeps nobody from the others, at the start and later")
    func stuckPool() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        _ = try await host.intents.begin(.delete(site.b("old")))
        _ = try await host.intents.begin(.delete(site.a("plain")))
        let (gate, opener) = AsyncStream.makeStream(of: Never.self)
        let drivers = PoolDriver.all.map { driver in
            var stuck = driver
            stuck.open = { configuration throws(StorageError) in
                if configuration.name == "b" { for await _ in gate {} }
                return try await driver.open(configuration)
            }
            return stuck
        }
        let next = try await site.host(wait: .seconds(2), drivers: drivers)
        #expect(try await next.intents.all().contains { $0.workflow == .delete(site.b("old")) })
        try await next.deleteVolume(site.a("plain"))
        opener.finish()
        while try await !next.intents.all().isEmpty { await Task.yield() }
        #expect(try await next.exists(site.b("old")))
    }

    @Test("A pool is not removed while something is under way in it")
    func removalOfBusyPool() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        try await host.withVolumes("hold", exclusive: [site.b("old")]) { () async throws(StorageError) in
            try await host.run(.delete(site.b("old"))) { token throws(StorageError) in
                await expect(.busy) { try await host.removePool("b") }
                try await host.intents.end(token)
            }
        }
        try await host.removePool("b")
    }

    @Test("What was interrupted in a pool that is not registered any more is forgotten")
    func removedPool() async throws {
        let sweep = try await PreparedSite()
        _ = try await sweep.host.intents.begin(.delete(VolumeAddress(pool: "gone", name: "v")))
        let next = try await sweep.site.host()
        #expect(try await next.intents.all().isEmpty)
    }
}

@Suite struct StorageOperationTests {
    @Test("An operation tells how far it is, up to the end")
    func progress() async throws {
        let sweep = try await PreparedSite()
        let operation = sweep.host.copyVolume(sweep.site.a("disk"), to: sweep.site.b("copy"), verifies: true)
        var last: OperationProgress?
        for await progress in operation.progress { last = progress }
        #expect(last?.phase == .verifying)
        #expect(last?.bytesDone == WorkflowSite.size && last?.bytesTotal == WorkflowSite.size)
        let details = try await operation.value
        #expect(details.pool == "b" && details.name == "copy")
        #expect(try await operation.value == details)
    }

    @Test("A cancelled operation ends with that, and leaves nothing")
    func cancellation() async throws {
        let sweep = try await PreparedSite()
        let operation = sweep.host.copyVolume(sweep.site.a("disk"), to: sweep.site.b("copy"))
        operation.cancel()
        await expect(.cancelled) { _ = try await operation.value }
        #expect(try await (try await sweep.host.pool("b")).listVolumes().isEmpty)
    }

    @Test("A copy keeps holes, also where the source is fragmented")
    func sparse() async throws {
        let sweep = try await PreparedSite()
        let (site, host) = (sweep.site, sweep.host)
        try await host.createVolume(site.a("large"), VolumeRequirements(size: 1 << 30))
        let volume = try await host.openVolume(site.a("large"), mode: .exclusive)
        for index in 0..<16 as Range<UInt64> { try await volume.write([1].rawBytes, at: index << 26) }
        try await volume.close()
        let copy = try await host.copyVolume(site.a("large"), to: site.b("large"), verifies: true).value
        #expect(copy.allocatedSize < 8 << 20)
    }
}

/// A site for one test, with a host of it.
struct PreparedSite {
    private let directory: TemporaryDirectory
    let site: WorkflowSite
    let host: StorageHost

    init() async throws {
        directory = try TemporaryDirectory()
        site = WorkflowSite(at: directory.path)
        try await site.prepare()
        host = try await site.host { [directory] _ throws(StorageError) in _ = directory }
    }
}
