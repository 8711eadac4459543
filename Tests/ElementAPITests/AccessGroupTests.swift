#if ISCSI
    import BlockStorage
    import Testing

    @testable import ElementAPI

    @Suite struct AccessGroupTests {
        private func array(_ groups: String...) async throws -> ScriptedArray {
            let list = "{\"volumeAccessGroups\": [\(groups.joined(separator: ","))]}"
            return try await ScriptedArray { call in
                switch call.method {
                case "ListVolumeAccessGroups": .result(list)
                case "CreateVolumeAccessGroup": .result("{\"volumeAccessGroupID\": 1}")
                case "AddInitiatorsToVolumeAccessGroup", "RemoveInitiatorsFromVolumeAccessGroup",
                    "AddVolumesToVolumeAccessGroup", "RemoveVolumesFromVolumeAccessGroup", "DeleteVolumeAccessGroup":
                    .result("{}")
                default: nil
                }
            }
        }

        @Test("a group has at most 64 initiators, whoever added them")
        func initiators() async throws {
            let names = (0..<64).map { "iqn.2026-01.com.example:host\($0)" }
            let array = try await array(Example.group(1, name: "g", initiators: names))
            let client = try array.client()
            let error = await #expect(throws: StorageError.self) {
                try await client.addInitiators(["iqn.2026-01.com.example:more"], to: 1)
            }
            #expect(error?.code == .quotaExceeded && error?.why.contains("65") == true)
            // Those that are there already, in other letters.
            try await client.addInitiators([names[5].uppercased()], to: 1)
            #expect(array.count("AddInitiatorsToVolumeAccessGroup") == 0)
            try await client.removeInitiators([names[7], "iqn.2026-01.com.example:more"], from: 1)
            #expect(
                array.calls.last?.parameters["initiators"] == .list([.text(names[7])])
                    && array.calls.last?.method == "RemoveInitiatorsFromVolumeAccessGroup")
            let created = await #expect(throws: StorageError.self) {
                _ = try await client.createAccessGroup(named: "h", initiators: names + ["iqn.2026-01.com.example:more"])
            }
            #expect(created?.code == .quotaExceeded)
            try await array.close()
        }

        @Test("a volume is in at most four groups")
        func volumes() async throws {
            let array = try await array(
                Example.group(1, name: "a", volumes: [5, 6]), Example.group(2, name: "b", volumes: [5]),
                Example.group(3, name: "c", volumes: [5, 7]), Example.group(4, name: "d", volumes: [5]),
                Example.group(9, name: "e"))
            let client = try array.client()
            let error = await #expect(throws: StorageError.self) { try await client.addVolumes([5], to: 9) }
            #expect(error?.code == .quotaExceeded)
            try await client.addVolumes([5], to: 1)
            #expect(array.count("AddVolumesToVolumeAccessGroup") == 0)
            try await client.addVolumes([5, 7], to: 3)
            try await client.addVolumes([6, 8], to: 9)
            #expect(array.calls.last?.parameters["volumes"] == .list([.integer(6), .integer(8)]))
            try await client.removeVolumes([5, 8], from: 2)
            #expect(array.calls.last?.parameters["volumes"] == .list([.integer(5)]))
            let missing = await #expect(throws: StorageError.self) { try await client.addVolumes([5], to: 77) }
            #expect(missing?.code == .notFound)
            try await client.removeVolumes([5], from: 77)
            try await client.deleteAccessGroup(77)
            try await array.close()
        }

        @Test("what another host did meanwhile is done")
        func races() async throws {
            let array = try await ScriptedArray { call in
                switch call.method {
                case "ListVolumeAccessGroups":
                    .result(
                        "{\"volumeAccessGroups\": [\(Example.group(1, name: "g", initiators: ["iqn.a:b"], volumes: [5]))]}"
                    )
                case "AddVolumesToVolumeAccessGroup", "AddInitiatorsToVolumeAccessGroup":
                    .refusal("xAlreadyInVolumeAccessGroup")
                case "RemoveVolumesFromVolumeAccessGroup": .refusal("xNotInVolumeAccessGroup")
                case "RemoveInitiatorsFromVolumeAccessGroup": .refusal("xVolumeAccessGroupIDDoesNotExist")
                default: nil
                }
            }
            let client = try array.client()
            try await client.addVolumes([6], to: 1)
            try await client.addInitiators(["iqn.a:c"], to: 1)
            try await client.removeVolumes([5], from: 1)
            try await client.removeInitiators(["iqn.a:b"], from: 1)
            try await array.close()
        }

        @Test("a group is made, and found again when its answer was lost")
        func creates() async throws {
            let array = try await ScriptedArray { call in
                switch call.method {
                case "ListVolumeAccessGroups":
                    .result("{\"volumeAccessGroups\": [\(Example.group(3, name: "g", initiators: ["iqn.a:b"]))]}")
                case "CreateVolumeAccessGroup": .cut()
                default: nil
                }
            }
            let group = try await array.client().createAccessGroup(named: "g", initiators: ["iqn.a:b"])
            #expect(group.id == 3 && array.count("CreateVolumeAccessGroup") == 1)
            try await array.close()
        }
    }
#endif
