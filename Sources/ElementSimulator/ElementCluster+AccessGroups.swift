extension ElementCluster {
    static let accessGroupMethods: [String: Method] = [
        "CreateVolumeAccessGroup": { (cluster, parameters) throws(ElementError) in
            try cluster.createGroup(&parameters)
        },
        "ListVolumeAccessGroups": { (cluster, parameters) throws(ElementError) in
            try cluster.listGroups(&parameters)
        },
        "ModifyVolumeAccessGroup": { (cluster, parameters) throws(ElementError) in
            var group = try cluster.group(parameters.required("volumeAccessGroupID"))
            if let name: String = try parameters.optional("name") {
                try cluster.checkName(name, "name")
                group.name = name
            }
            if let attributes = try cluster.checkAttributes(parameters.optional("attributes")) {
                group.attributes = attributes
            }
            let old = group.initiatorIDs
            if let initiators: [InitiatorReference] = try parameters.optional("initiators") {
                group.initiatorIDs = []
                try cluster.addInitiators(initiators, to: &group)
            }
            if let volumes: [Int] = try parameters.optional("volumes") {
                group.volumes = []
                try cluster.addVolumes(volumes, to: &group)
            }
            return try cluster.replace(group, old, &parameters)
        },
        "DeleteVolumeAccessGroup": { (cluster, parameters) throws(ElementError) in
            let group = try cluster.group(parameters.required("volumeAccessGroupID"))
            cluster.state.groups[group.volumeAccessGroupID] = nil
            try cluster.removeOrphans(group.initiatorIDs, &parameters)
            return [:]
        },
        "AddInitiatorsToVolumeAccessGroup": { (cluster, parameters) throws(ElementError) in
            var group = try cluster.group(parameters.required("volumeAccessGroupID"))
            try cluster.addInitiators(parameters.required("initiators"), to: &group)
            return try cluster.replace(group)
        },
        "RemoveInitiatorsFromVolumeAccessGroup": { (cluster, parameters) throws(ElementError) in
            var group = try cluster.group(parameters.required("volumeAccessGroupID"))
            let old = group.initiatorIDs
            let references: [InitiatorReference] = try parameters.required("initiators")
            for reference in references {
                guard let id = cluster.initiator(reference)?.initiatorID,
                    let index = group.initiatorIDs.firstIndex(of: id)
                else { throw .notInGroup("Initiator \(reference)", group.volumeAccessGroupID) }
                group.initiatorIDs.remove(at: index)
            }
            return try cluster.replace(group, old, &parameters)
        },
        "AddVolumesToVolumeAccessGroup": { (cluster, parameters) throws(ElementError) in
            var group = try cluster.group(parameters.required("volumeAccessGroupID"))
            try cluster.addVolumes(parameters.required("volumes"), to: &group)
            return try cluster.replace(group)
        },
        "RemoveVolumesFromVolumeAccessGroup": { (cluster, parameters) throws(ElementError) in
            var group = try cluster.group(parameters.required("volumeAccessGroupID"))
            let ids: [Int] = try parameters.required("volumes")
            for id in ids {
                guard let index = group.volumes.firstIndex(of: id) else {
                    throw .notInGroup("VolumeID \(id)", group.volumeAccessGroupID)
                }
                group.volumes.remove(at: index)
            }
            return try cluster.replace(group)
        },
    ]

    func group(_ id: Int) throws(ElementError) -> AccessGroupRecord {
        guard let group = state.groups[id] else { throw .noGroup(id) }
        return group
    }

    private mutating func createGroup(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        parameters.ignore("virtualNetworkID", "virtualNetworkTags")
        let name: String = try parameters.required("name")
        try checkName(name, "name")
        guard state.groups.count < limits.groupCount else {
            throw .exceeded("Exceeded maximum number of VolumeAccessGroups")
        }
        var group = AccessGroupRecord(
            volumeAccessGroupID: state.takeID(), name: name,
            attributes: try checkAttributes(parameters.optional("attributes")) ?? [:])
        try addInitiators(parameters.optional("initiators") ?? [], to: &group)
        try addVolumes(parameters.optional("volumes") ?? [], to: &group)
        state.groups[group.volumeAccessGroupID] = group
        return ["volumeAccessGroup": json(group), "volumeAccessGroupID": .integer(group.volumeAccessGroupID)]
    }

    private func listGroups(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        let ids: [Int]? = try parameters.optional("volumeAccessGroups")
        let start: Int? = try parameters.optional("startVolumeAccessGroupID")
        let limit: Int? = try parameters.optional("limit")
        guard let ids else {
            let page = try Self.page(state.groups, from: start, limit: limit)
            return ["volumeAccessGroups": .array(page.map(json)), "volumeAccessGroupsNotFound": []]
        }
        guard start == nil, limit == nil else {
            throw .invalid("volumeAccessGroups excludes startVolumeAccessGroupID and limit")
        }
        return [
            "volumeAccessGroups": .array(ids.compactMap { state.groups[$0] }.map(json)),
            "volumeAccessGroupsNotFound": JSONValue(ids.filter { state.groups[$0] == nil }),
        ]
    }

    /// Puts a changed group in the place of the old one. Initiators that are in no group any more go, unless they are to
    /// stay.
    private mutating func replace(
        _ group: AccessGroupRecord, _ old: [Int] = [], _ parameters: inout Parameters
    ) throws(ElementError) -> JSONValue {
        state.groups[group.volumeAccessGroupID] = group
        try removeOrphans(old, &parameters)
        return ["volumeAccessGroup": json(group)]
    }

    private mutating func replace(_ group: AccessGroupRecord) throws(ElementError) -> JSONValue {
        state.groups[group.volumeAccessGroupID] = group
        return ["volumeAccessGroup": json(group)]
    }

    private mutating func removeOrphans(_ ids: [Int], _ parameters: inout Parameters) throws(ElementError) {
        guard try parameters.optional("deleteOrphanInitiators") ?? true else { return }
        for id in ids where !state.groups.values.contains(where: { $0.initiatorIDs.contains(id) }) {
            state.initiators[id] = nil
        }
    }

    private mutating func addInitiators(
        _ references: [InitiatorReference], to group: inout AccessGroupRecord
    ) throws(ElementError) {
        for reference in references {
            let initiator: InitiatorRecord
            if let known = self.initiator(reference) {
                initiator = known
            } else {
                initiator = try addInitiator(named: reference.name)
            }
            let id = initiator.initiatorID
            guard !group.initiatorIDs.contains(id) else {
                throw .alreadyInGroup("Initiator \(initiator.name)", group.volumeAccessGroupID)
            }
            let others = state.groups.values.count {
                $0.volumeAccessGroupID != group.volumeAccessGroupID && $0.initiatorIDs.contains(id)
            }
            guard others < limits.groupsPerInitiator else {
                throw .exceeded("Exceeded maximum number of VolumeAccessGroups per Initiator")
            }
            guard group.initiatorIDs.count < limits.initiatorsPerGroup else {
                throw .exceeded("Exceeded maximum number of Initiators per VolumeAccessGroup")
            }
            group.initiatorIDs.append(id)
        }
    }

    private mutating func addVolumes(_ ids: [Int], to group: inout AccessGroupRecord) throws(ElementError) {
        for id in ids {
            _ = try volume(id)
            guard !group.volumes.contains(id) else {
                throw .alreadyInGroup("VolumeID \(id)", group.volumeAccessGroupID)
            }
            let others = state.groups.values.count {
                $0.volumeAccessGroupID != group.volumeAccessGroupID && $0.volumes.contains(id)
            }
            guard others < limits.groupsPerVolume else {
                throw .exceeded("Exceeded maximum number of VolumeAccessGroups per Volume")
            }
            guard group.volumes.count < limits.volumesPerGroup else {
                throw .exceeded("Exceeded maximum number of Volumes per VolumeAccessGroup")
            }
            group.volumes.append(id)
        }
    }

    private func json(_ group: AccessGroupRecord) -> JSONValue {
        [
            "attributes": .object(group.attributes), "deletedVolumes": JSONValue(group.deletedVolumes),
            "initiatorIDs": JSONValue(group.initiatorIDs),
            "initiators": JSONValue(group.initiatorIDs.compactMap { state.initiators[$0]?.name }),
            "name": .string(group.name), "volumeAccessGroupID": .integer(group.volumeAccessGroupID),
            "volumes": JSONValue(group.volumes),
        ]
    }
}
