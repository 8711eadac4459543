#if RBD
    import BlockStorage
    import Testing

    @testable import RBDPool

    @Suite("The snapshot that clones of a template read through")
    struct BaseSnapshotRepairTests {
        private let notFound = StorageError(.notFound, "protect")
        private let exists = StorageError(.alreadyExists, "create")
        private let isBusy = StorageError(.busy, "protect")

        @Test("From every state it is made and protected, and no more is done than is missing")
        func states() throws {
            var absent = BaseSnapshotRepair()
            #expect(absent.next == .look)
            absent.found(isProtected: nil)
            #expect(absent.next == .create)
            try absent.created(nil)
            #expect(absent.next == .protect)
            try absent.protected(nil)
            #expect(absent.next == .finished)

            var unprotected = BaseSnapshotRepair()
            unprotected.found(isProtected: false)
            #expect(unprotected.next == .protect)

            var protected = BaseSnapshotRepair()
            protected.found(isProtected: true)
            #expect(protected.next == .finished)
        }

        @Test("What another host has done already is as good as done")
        func otherHosts() throws {
            var repair = BaseSnapshotRepair()
            repair.found(isProtected: nil)
            try repair.created(exists)
            #expect(repair.next == .protect)
            try repair.protected(isBusy)
            #expect(repair.next == .finished)
        }

        @Test("When it is gone again, all begins again; not for ever")
        func removedMeanwhile() throws {
            var repair = BaseSnapshotRepair()
            repair.found(isProtected: false)
            try repair.protected(notFound)
            #expect(repair.next == .look)
            repair.found(isProtected: true)
            try repair.cloneFailed(StorageError(.invalidArgument, "clone"))
            #expect(repair.next == .look)
            #expect(throws: StorageError.self) {
                for _ in 0..<100 {
                    repair.found(isProtected: false)
                    try repair.protected(notFound)
                }
            }
        }

        @Test("Other failures are thrown")
        func failures() throws {
            let lost = StorageError(.connectionLost, "create")
            var repair = BaseSnapshotRepair()
            repair.found(isProtected: nil)
            #expect(throws: StorageError.self) { try repair.created(lost) }
            #expect(throws: StorageError.self) { try repair.protected(lost) }
            #expect(throws: StorageError.self) { try repair.cloneFailed(lost) }
        }

        @Test("Hosts that race end with one snapshot, protected, in whatever order their steps are done")
        func race() throws {
            for seed in 0..<200 as Range<UInt64> {
                var generator = SeededGenerator(seed: seed)
                var hosts = [BaseSnapshotRepair](repeating: BaseSnapshotRepair(), count: 8)
                var (made, isProtected) = (0, false)
                while let index = hosts.indices.filter({ hosts[$0].next != .finished }).randomElement(using: &generator)
                {
                    switch hosts[index].next {
                    case .look: hosts[index].found(isProtected: made == 0 ? nil : isProtected)
                    case .create:
                        try hosts[index].created(made == 0 ? nil : exists)
                        made = max(made, 1)
                    case .protect:
                        try hosts[index].protected(isProtected ? isBusy : nil)
                        isProtected = true
                    case .finished: break
                    }
                }
                #expect(made == 1 && isProtected)
            }
        }
    }
#endif
