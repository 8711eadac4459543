import BlockStorage
import Foundation
import Testing

@Suite struct ProcessIdentityTests {
    @Test("This process is alive, and what had its number before is dead")
    func thisProcess() throws {
        let own = try #require(ProcessIdentity.current())
        #expect(own.isAlive && own.isThisProcess && !own.isDead && !own.isOfEarlierBoot)
        var earlier = own
        earlier.start -= 1
        #expect(earlier.isDead && !earlier.isAlive && !earlier.isThisProcess)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/true")
        try process.run()
        process.waitUntilExit()
        earlier.processID = process.processIdentifier
        #expect(earlier.isDead)
    }

    @Test("Of another host, or another run of this one, nothing is known but that")
    func elsewhere() throws {
        var other = try #require(ProcessIdentity.current())
        other.boot = "another"
        #expect(!other.isDead && !other.isAlive && !other.isThisProcess && other.isOfEarlierBoot)
    }

    @Test("A process survives its text; any other text is none")
    func text() throws {
        let own = try #require(ProcessIdentity.current())
        #expect(ProcessIdentity(text: own.text) == own)
        let coded = try JSONDecoder().decode([ProcessIdentity].self, from: try JSONEncoder().encode([own]))
        #expect(coded == [own])
        for text in ["", "host 1 2 3 4", "host x 2 boot namespace 5", "host 1 2 boot namespace 5 6"] {
            #expect(ProcessIdentity(text: text) == nil)
        }
    }
}
